//! What a kernel sees of a texture: loads, stores, sizes, and samples through a sampler.
//!
//! Both engines call these functions. Texels outside a texture load as zero and are not stored. Linear filters blend along x
//! first, then y, then z, with weights that are rounded to parts of `WEIGHT_ONE`: so what they give for normalized bytes
//! is exact up to the last step, whoever computes it.

use super::{
    binding::{
        AddressMode, CompareFunction, Filter, LevelLayout, SamplerBinding, TextureBinding, TextureDimension,
    },
    cube, memory,
    texel::{Texel, TexelFormat, TexelKind},
};

/// Where a sample is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SamplePoint {
    pub(super) coords: [f32; 3],
    pub(super) layer: i32,
    pub(super) lod: f32,
    pub(super) offset: [i32; 3],
}

/// Loads the texel at `at`: x, y, and z or layer.
///
/// # Safety
/// The levels' memory must be valid for reads, as [`super::Kernel::run`] asks.
pub(super) unsafe fn load(texture: &TextureBinding, level: u32, at: [u32; 3]) -> Texel {
    let Some(address) = texel_address(texture, level, at) else { return [0; 4] };
    let bytes = texture.format.bytes();
    // SAFETY: the address is of a texel of the level.
    texture.format.decode(&unsafe { read_texel(address, bytes) })
}

/// Stores the texel at `at` of the largest level.
///
/// # Safety
/// The levels' memory must be valid for writes, as [`super::Kernel::run`] asks.
pub(super) unsafe fn store(texture: &TextureBinding, at: [u32; 3], texel: Texel) {
    let Some(address) = texel_address(texture, 0, at) else { return };
    let bytes = texture.format.encode(texel);
    let piece = texture.format.bytes().min(4);
    for start in (0..texture.format.bytes()).step_by(piece as usize) {
        let mut raw = [0; 8];
        raw[..piece as usize].copy_from_slice(&bytes[start as usize..(start + piece) as usize]);
        // SAFETY: the piece lies inside the texel.
        let target = unsafe { address.add(start as usize) };
        // SAFETY: valid for writes by the caller's promise.
        unsafe { memory::store(target, piece, u64::from_le_bytes(raw)) };
    }
}

/// Replaces the 32-bit integer texel at `at` by `change` of it and gives the old one; zero outside.
///
/// # Safety
/// As for [`store`].
pub(super) unsafe fn update(texture: &TextureBinding, at: [u32; 3], change: impl Fn(u64) -> u64) -> u64 {
    match texel_address(texture, 0, at) {
        // SAFETY: the address is of a texel of at least four bytes.
        Some(address) if texture.format.bytes() >= 4 => unsafe { memory::update(address, 4, change) },
        _ => 0,
    }
}

pub(super) fn texel_address(texture: &TextureBinding, level: u32, [x, y, z]: [u32; 3]) -> Option<*mut u8> {
    let level = texture.levels.get(level as usize)?;
    if x >= level.width || y >= level.height || z >= level.depth_or_layers {
        return None;
    }
    let bytes = u64::from(x) * u64::from(texture.format.bytes())
        + u64::from(y) * level.row_pitch
        + u64::from(z) * level.slice_pitch;
    Some(level.ptr.wrapping_add(bytes as usize))
}

/// The first coordinate of a texel that is outside, and what it had to be below.
pub(super) fn beyond(texture: &TextureBinding, level: u32, texel: [u32; 3]) -> (u32, u32) {
    let Some(of) = texture.levels.get(level as usize) else {
        return (level, texture.levels.len() as u32);
    };
    let size = [of.width, of.height, of.depth_or_layers];
    texel.into_iter().zip(size).find(|(at, size)| at >= size).unwrap_or((0, 0))
}

/// The texels, each with its level, that a sample or a gather looks at.
pub(super) fn footprint(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    gather: bool,
) -> Vec<(u32, [u32; 3])> {
    let looked_at = std::cell::RefCell::new(Vec::new());
    let (linear, largest);
    let (sampler, point) = if gather {
        linear = SamplerBinding {
            mag_filter: Filter::Linear,
            min_filter: Filter::Linear,
            mip_filter: Filter::Nearest,
            lod: [0.0, 0.0],
            ..*sampler
        };
        largest = SamplePoint { lod: 0.0, ..*point };
        (&linear, &largest)
    } else {
        (sampler, point)
    };
    blend(texture, sampler, point, |level, at| {
        looked_at.borrow_mut().extend(at.map(|at| (level, at)));
        [0.0; 4]
    });
    looked_at.into_inner()
}

/// # Safety
/// `bytes` (up to 16) bytes from `address` must be valid for reads.
unsafe fn read_texel(address: *const u8, bytes: u32) -> [u8; 16] {
    let piece = bytes.min(4);
    let mut raw = [0; 16];
    for start in (0..bytes).step_by(piece as usize) {
        // SAFETY: the piece lies inside the texel.
        let source = unsafe { address.add(start as usize) };
        // SAFETY: valid for reads by the caller's promise.
        let bits = unsafe { memory::load(source, piece) };
        raw[start as usize..(start + piece) as usize].copy_from_slice(&bits.to_le_bytes()[..piece as usize]);
    }
    raw
}

/// Texels in x, y and z of a level; of one layer for arrays and cubes.
pub(super) fn size(texture: &TextureBinding, level: u32) -> [u32; 3] {
    texture.levels.get(level as usize).map_or([0; 3], |level| {
        [
            level.width,
            level.height,
            if texture.dimension == TextureDimension::D3 { level.depth_or_layers } else { 1 },
        ]
    })
}

/// Layers of an array; whole cubes for cubes.
pub(super) fn layers(texture: &TextureBinding) -> u32 {
    let layers = texture.levels.first().map_or(0, |level| level.depth_or_layers);
    match texture.dimension {
        TextureDimension::Cube | TextureDimension::CubeArray => layers / 6,
        TextureDimension::D2Array => layers,
        _ => 1,
    }
}

/// What the weights of two neighbours add up to, in machine code that blends integers. Vulkan and Metal ask for 4 to 8
/// bits; these are 14, which a signed word still holds.
pub(super) const WEIGHT_ONE: f32 = (1 << 14) as f32;

/// One tap of a filter: where (`None` is the border) and how much.
type Tap = (Option<[u32; 3]>, f32);

/// Samples a texture of floats.
///
/// # Safety
/// As for [`load`].
pub(super) unsafe fn sample(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
) -> [f32; 4] {
    let unit = unit(texture.format, sampler);
    let sum = blend(texture, sampler, point, |level, at| {
        let texel = match at {
            // SAFETY: the caller's promise.
            Some(at) => unsafe { load(texture, level, at) }.map(f32::from_bits),
            None => sampler.border,
        };
        texel.map(|value| value * unit)
    });
    sum.map(|value| value / unit)
}

/// What stands for one while a filter adds up. Normalized bytes are added as bytes, which is exact and saves machine code
/// a division for each tap; a color of the border is no byte.
fn unit(format: TexelFormat, sampler: &SamplerBinding) -> f32 {
    let bytes = format == TexelFormat::Rgba8Unorm && !sampler.address.contains(&AddressMode::ClampToBorder);
    if bytes { 255.0 } else { 1.0 }
}

/// Compares `reference` with each tap of a depth texture and blends the results.
///
/// # Safety
/// As for [`load`].
pub(super) unsafe fn sample_compare(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    reference: f32,
) -> f32 {
    let reference = depth_reference(texture, reference);
    blend(texture, sampler, point, |level, at| {
        let depth = match at {
            // SAFETY: the caller's promise.
            Some(at) => f32::from_bits(unsafe { load(texture, level, at) }[0]),
            None => sampler.border[0],
        };
        [if compare(sampler, reference, depth) { 1.0 } else { 0.0 }; 4]
    })[0]
}

/// The four texels that a linear filter of the largest level would blend, as WGSL orders them: lower left, lower right,
/// upper right, upper left.
///
/// # Safety
/// As for [`load`].
pub(super) unsafe fn gather(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    component: usize,
    reference: Option<f32>,
) -> Texel {
    let Some(level) = texture.levels.first() else { return [0; 4] };
    let value = |at: Option<[u32; 3]>| {
        let texel = match at {
            // SAFETY: the caller's promise.
            Some(at) => unsafe { load(texture, 0, at) },
            None => sampler.border.map(f32::to_bits),
        };
        match reference {
            None => texel[component.min(3)],
            Some(reference) => {
                let passes = compare(sampler, depth_reference(texture, reference), f32::from_bits(texel[0]));
                (if passes { 1f32 } else { 0.0 }).to_bits()
            }
        }
    };
    let order = [(0, 1), (1, 1), (1, 0), (0, 0)];
    if is_cube(texture) {
        let square = cube_square(texture, point, level);
        return order.map(|(i, j)| match &square[2 * j + i].0[..] {
            [one] => value(Some(*one)),
            // Integers have no mean: the texel of the face itself, which is the first, stands for all.
            [first, ..] if texture.format.kind() != TexelKind::Float => value(Some(*first)),
            texels => {
                let sum: f32 = texels.iter().map(|at| f32::from_bits(value(Some(*at)))).sum();
                (sum / texels.len() as f32).to_bits()
            }
        });
    }
    let x = neighbours(point.coords[0], level.width, sampler.address[0], point.offset[0], Filter::Linear);
    let y = neighbours(point.coords[1], level.height, sampler.address[1], point.offset[1], Filter::Linear);
    let layer = layer_of(texture, point);
    order.map(|(i, j)| value(x[i].0.zip(y[j].0).map(|(x, y)| [x, y, layer])))
}

/// A normalized depth format compares with what it could store.
fn depth_reference(texture: &TextureBinding, reference: f32) -> f32 {
    if texture.format == TexelFormat::Depth16Unorm { reference.clamp(0.0, 1.0) } else { reference }
}

fn compare(sampler: &SamplerBinding, reference: f32, texel: f32) -> bool {
    match sampler.compare.unwrap_or(CompareFunction::Always) {
        CompareFunction::Never => false,
        CompareFunction::Less => reference < texel,
        CompareFunction::Equal => reference == texel,
        CompareFunction::LessEqual => reference <= texel,
        CompareFunction::Greater => reference > texel,
        CompareFunction::NotEqual => reference != texel,
        CompareFunction::GreaterEqual => reference >= texel,
        CompareFunction::Always => true,
    }
}

/// Chooses levels and taps, and adds up what `fetch` gives for them.
fn blend(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    fetch: impl Fn(u32, Option<[u32; 3]>) -> [f32; 4],
) -> [f32; 4] {
    let lod = point.lod.max(sampler.lod[0]).min(sampler.lod[1]);
    let last = texture.levels.len().saturating_sub(1) as f32;
    let filter = if lod <= 0.0 { sampler.mag_filter } else { sampler.min_filter };
    let lod = lod.max(0.0).min(last);
    let (level, weight) = match sampler.mip_filter {
        // Halfway goes down, as Vulkan prefers.
        Filter::Nearest => (((lod + 0.5).ceil() - 1.0).max(0.0).min(last), 0.0),
        Filter::Linear => (lod.floor(), lod.fract()),
    };
    let at_level = |level: f32| filtered(texture, sampler, point, filter, level as u32, &fetch);
    let near = at_level(level);
    if weight == 0.0 {
        return near;
    }
    let far = at_level((level + 1.0).min(last));
    std::array::from_fn(|i| near[i] * (1.0 - weight) + far[i] * weight)
}

/// What one level gives.
fn filtered(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    filter: Filter,
    number: u32,
    fetch: &impl Fn(u32, Option<[u32; 3]>) -> [f32; 4],
) -> [f32; 4] {
    let Some(level) = texture.levels.get(number as usize) else { return [0.0; 4] };
    if is_cube(texture) {
        let taps = cube_taps(texture, point, filter, level);
        return weighted(taps, |at| fetch(number, at));
    }
    let axis =
        |i: usize, size: u32| neighbours(point.coords[i], size, sampler.address[i], point.offset[i], filter);
    let x = axis(0, level.width);
    let y =
        if texture.dimension == TextureDimension::D1 { vec![(Some(0), 1.0)] } else { axis(1, level.height) };
    let z = match texture.dimension {
        TextureDimension::D3 => axis(2, level.depth_or_layers),
        _ => vec![(Some(layer_of(texture, point)), 1.0)],
    };
    weighted(z, |z| {
        weighted(y.iter().copied(), |y| {
            weighted(x.iter().copied(), |x| fetch(number, x.zip(y).zip(z).map(|((x, y), z)| [x, y, z])))
        })
    })
}

/// Adds up what `value` gives for each place, times its weight.
fn weighted<T>(taps: impl IntoIterator<Item = (T, f32)>, value: impl Fn(T) -> [f32; 4]) -> [f32; 4] {
    taps.into_iter().fold([0.0; 4], |sum, (at, weight)| {
        let value = value(at);
        std::array::from_fn(|i| sum[i] + value[i] * weight)
    })
}

/// The texels of a cube for one sample. Filters reach across edges, so that a sampler's address modes mean nothing.
fn cube_taps(texture: &TextureBinding, point: &SamplePoint, filter: Filter, level: &LevelLayout) -> Vec<Tap> {
    if filter == Filter::Linear {
        let square = cube_square(texture, point, level);
        let spread = |(texels, weight): &(Vec<[u32; 3]>, f32)| {
            let weight = weight / texels.len() as f32;
            texels.iter().map(|at| (Some(*at), weight)).collect::<Vec<Tap>>()
        };
        return square.iter().flat_map(spread).collect();
    }
    let (face, coords) = cube::place(point.coords);
    let [x, y] = coords.map(|along| {
        wrap((along * level.width as f32).floor() as i64, level.width, AddressMode::ClampToEdge)
    });
    let layer = 6 * layer_of(texture, point) + face;
    vec![(x.zip(y).map(|(x, y)| [x, y, layer]), 1.0)]
}

/// What a linear filter blends on a cube, row by row: the texels that stand for each of four, and its weight.
fn cube_square(
    texture: &TextureBinding,
    point: &SamplePoint,
    level: &LevelLayout,
) -> [(Vec<[u32; 3]>, f32); 4] {
    let (face, coords) = cube::place(point.coords);
    let [x, y] = coords.map(|along| between(along * level.width as f32));
    let first = 6 * layer_of(texture, point);
    [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, j)| {
        let at = [(x.0 as i32).saturating_add(i), (y.0 as i32).saturating_add(j)];
        let mut texels = cube::texels(face, level.width, at);
        texels.iter_mut().for_each(|texel| texel[2] += first);
        let weight = |(_, second): (f32, f32), at: i32| if at == 0 { 1.0 - second } else { second };
        (texels, weight(x, i) * weight(y, j))
    })
}

/// The first of two texels that a position lies between, and how much the second one weighs.
fn between(position: f32) -> (f32, f32) {
    let low = (position - 0.5).floor();
    let weight = ((position - 0.5 - low) * WEIGHT_ONE).round_ties_even() / WEIGHT_ONE;
    (low, if weight.is_finite() { weight } else { 0.0 })
}

/// The texels next to a normalized coordinate on one axis, with their weights.
fn neighbours(
    coordinate: f32,
    size: u32,
    mode: AddressMode,
    offset: i32,
    filter: Filter,
) -> Vec<(Option<u32>, f32)> {
    let position = coordinate * size as f32 + offset as f32;
    match filter {
        Filter::Nearest => vec![(wrap(position.floor() as i64, size, mode), 1.0)],
        Filter::Linear => {
            let (low, weight) = between(position);
            vec![
                (wrap(low as i64, size, mode), 1.0 - weight),
                (wrap((low as i64).saturating_add(1), size, mode), weight),
            ]
        }
    }
}

fn wrap(index: i64, size: u32, mode: AddressMode) -> Option<u32> {
    let size = i64::from(size.max(1));
    let mirrored = |index: i64| if index < 0 { -1 - index } else { index };
    let inside = match mode {
        AddressMode::ClampToEdge => index.clamp(0, size - 1),
        AddressMode::Repeat => index.rem_euclid(size),
        AddressMode::MirrorRepeat => mirrored(index.rem_euclid(2 * size) - size).min(size - 1),
        AddressMode::MirrorClampToEdge => mirrored(index).clamp(0, size - 1),
        AddressMode::ClampToBorder if index < 0 || index >= size => return None,
        AddressMode::ClampToBorder => index,
    };
    Some(if mode == AddressMode::MirrorRepeat { (size - 1 - inside) as u32 } else { inside as u32 })
}

fn is_cube(texture: &TextureBinding) -> bool {
    matches!(texture.dimension, TextureDimension::Cube | TextureDimension::CubeArray)
}

/// The layer of an array, or the whole cube of one.
fn layer_of(texture: &TextureBinding, point: &SamplePoint) -> u32 {
    match texture.dimension {
        TextureDimension::CubeArray | TextureDimension::D2Array => {
            let last = layers(texture).saturating_sub(1) as i32;
            point.layer.clamp(0, last.max(0)) as u32
        }
        _ => 0,
    }
}

/// The level of detail where the coordinates of a sample change by `dx` and `dy`.
pub(super) fn lod_of_gradient(texture: &TextureBinding, coords: [f32; 3], changes: [[f32; 3]; 2]) -> f32 {
    let size = texture.levels.first().map_or([0.0; 3], |level: &LevelLayout| {
        let depth = if texture.dimension == TextureDimension::D3 { level.depth_or_layers } else { 0 };
        [level.width as f32, level.height as f32, depth as f32]
    });
    let [dx, dy] = changes.map(|change| {
        let [x, y] = if is_cube(texture) { cube::speed(coords, change) } else { [change[0], change[1]] };
        let texels = [x * size[0], y * size[1], change[2] * size[2]];
        texels.iter().map(|along| along * along).sum::<f32>().sqrt()
    });
    dx.max(dy).log2()
}
