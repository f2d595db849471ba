//! Writing files whole or not at all.

use std::io::Write;
use std::path::Path;

/// Writes a file beside its place and moves it there.
///
/// # Errors
/// The folder is missing or cannot be written to.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A named temporary file is private to its owner; an output is an ordinary file.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lockgate-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
