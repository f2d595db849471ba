//! What a kernel sees of a texture: loads, stores, sizes, and samples through a sampler.
//!
//! Both engines call these functions. Texels outside a texture load as zero and are not stored. Positions of linear
//! filters are computed in `f32` without rounding to fixed point.

use super::{
    binding::{
        AddressMode, CompareFunction, Filter, LevelLayout, SamplerBinding, TextureBinding, TextureDimension,
    },
    memory,
    texel::{Texel, TexelFormat},
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
    let (coords, face) = project(texture, point);
    let layer = layer_of(texture, point, face);
    let Some(level) = texture.levels.first() else { return [0; 4] };
    let x = neighbours(coords[0], level.width, sampler.address[0], point.offset[0], Filter::Linear);
    let y = neighbours(coords[1], level.height, sampler.address[1], point.offset[1], Filter::Linear);
    [(0, 1), (1, 1), (1, 0), (0, 0)].map(|(i, j)| {
        let texel = match (x[i].0, y[j].0) {
            // SAFETY: the caller's promise.
            (Some(x), Some(y)) => unsafe { load(texture, 0, [x, y, layer]) },
            _ => sampler.border.map(f32::to_bits),
        };
        match reference {
            None => texel[component.min(3)],
            Some(reference) => {
                let passes = compare(sampler, depth_reference(texture, reference), f32::from_bits(texel[0]));
                (if passes { 1f32 } else { 0.0 }).to_bits()
            }
        }
    })
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
    let at_level = |level: f32| {
        let mut sum = [0.0; 4];
        for (at, weight) in taps(texture, sampler, point, filter, level as usize) {
            let value = fetch(level as u32, at);
            for (sum, value) in sum.iter_mut().zip(value) {
                *sum += value * weight;
            }
        }
        sum
    };
    let near = at_level(level);
    if weight == 0.0 {
        return near;
    }
    let far = at_level((level + 1.0).min(last));
    std::array::from_fn(|i| near[i] * (1.0 - weight) + far[i] * weight)
}

fn taps(
    texture: &TextureBinding,
    sampler: &SamplerBinding,
    point: &SamplePoint,
    filter: Filter,
    level: usize,
) -> Vec<Tap> {
    let Some(level) = texture.levels.get(level) else { return Vec::new() };
    let (coords, face) = project(texture, point);
    let axis = |i: usize, size: u32| neighbours(coords[i], size, sampler.address[i], point.offset[i], filter);
    let x = axis(0, level.width);
    let y =
        if texture.dimension == TextureDimension::D1 { vec![(Some(0), 1.0)] } else { axis(1, level.height) };
    let z = match texture.dimension {
        TextureDimension::D3 => axis(2, level.depth_or_layers),
        _ => vec![(Some(layer_of(texture, point, face)), 1.0)],
    };
    let mut taps = Vec::with_capacity(x.len() * y.len() * z.len());
    for (z, depth) in &z {
        for (y, height) in &y {
            for (x, width) in &x {
                let at = x.zip(*y).zip(*z).map(|((x, y), z)| [x, y, z]);
                taps.push((at, width * height * depth));
            }
        }
    }
    taps
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
            let low = (position - 0.5).floor();
            let weight = position - 0.5 - low;
            let weight = if weight.is_finite() { weight } else { 0.0 };
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

/// Coordinates on the plane, and the face of a cube.
fn project(texture: &TextureBinding, point: &SamplePoint) -> ([f32; 3], u32) {
    if !matches!(texture.dimension, TextureDimension::Cube | TextureDimension::CubeArray) {
        return (point.coords, 0);
    }
    let [x, y, z] = point.coords;
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let (face, s, t, major) = if az >= ax && az >= ay {
        if z < 0.0 { (5, -x, -y, az) } else { (4, x, -y, az) }
    } else if ay >= ax {
        if y < 0.0 { (3, x, -z, ay) } else { (2, x, z, ay) }
    } else if x < 0.0 {
        (1, z, -y, ax)
    } else {
        (0, -z, -y, ax)
    };
    ([(s / major + 1.0) / 2.0, (t / major + 1.0) / 2.0, 0.0], face)
}

fn layer_of(texture: &TextureBinding, point: &SamplePoint, face: u32) -> u32 {
    let last = layers(texture).saturating_sub(1) as i32;
    let layer = point.layer.clamp(0, last.max(0)) as u32;
    match texture.dimension {
        TextureDimension::Cube | TextureDimension::CubeArray => 6 * layer + face,
        TextureDimension::D2Array => layer,
        _ => 0,
    }
}

/// The level of detail for derivatives of the coordinates.
pub(super) fn lod_of_gradient(texture: &TextureBinding, dx: [f32; 3], dy: [f32; 3]) -> f32 {
    let size = texture.levels.first().map_or([0.0; 3], |level: &LevelLayout| {
        let depth = if texture.dimension == TextureDimension::D3 { level.depth_or_layers } else { 0 };
        [level.width as f32, level.height as f32, depth as f32]
    });
    let length = |d: [f32; 3]| (0..3).map(|i| (d[i] * size[i]) * (d[i] * size[i])).sum::<f32>().sqrt();
    length(dx).max(length(dy)).log2()
}
