//! Pictures as RGBA texels of one byte each: PNG and JPEG in, PNG out.

use image::{ImageFormat, ImageReader, RgbaImage};
use std::io::Cursor;

/// A decoded picture.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Red, green, blue, alpha of each texel, rows from the top.
    pub(crate) texels: Vec<u8>,
}

/// Decodes a PNG or JPEG, whatever its name says.
pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("it is neither a PNG nor a JPEG".into());
    }
    let picture = reader.decode().map_err(|error| error.to_string())?.into_rgba8();
    let (width, height) = picture.dimensions();
    Ok(Picture { width, height, texels: picture.into_raw() })
}

/// Encodes texels as PNG.
pub(crate) fn encode(picture: Picture) -> Result<Vec<u8>, String> {
    let Picture { width, height, texels } = picture;
    let image = RgbaImage::from_raw(width, height, texels).ok_or("the texels do not fill the picture")?;
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(bytes)
}
