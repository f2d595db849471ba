//! Kernels over textures that no case of the CPU device's own tests can say, on every driver: atomic operations on texels, storage
//! textures that are read, gathers with offsets, and samples with gradients.

use crate::harness::{drivers, reference, to_f32s};
use crate::textures::{FILTER, run};
use lockgate_runtime::*;

/// What drivers cannot do, by a part of their names and of the source, with a part of what they say.
const UNSUPPORTED: &[(&str, &str, &str)] = &[];

/// A kernel, the textures that it is given, and how far `out` may be from what the interpreter makes of it.
pub(crate) struct Case<'a> {
    pub(crate) source: &'a str,
    pub(crate) textures: &'a [(&'a str, TextureDescriptor)],
    pub(crate) filter: FilterMode,
    /// The filter between levels.
    pub(crate) mip_filter: FilterMode,
    pub(crate) address: AddressMode,
    pub(crate) groups: u32,
    /// `vec4f` that `out` holds.
    pub(crate) results: usize,
    pub(crate) accuracy: f32,
}

impl Default for Case<'_> {
    fn default() -> Self {
        let (filter, address) = (FilterMode::Nearest, AddressMode::ClampToEdge);
        Case {
            source: "",
            textures: &[],
            filter,
            mip_filter: filter,
            address,
            groups: 3,
            results: 0,
            accuracy: 0.0,
        }
    }
}

/// A texture with texels that are no NaN, not subnormal and no least integer, whatever its format.
fn filled(device: &Device, descriptor: &TextureDescriptor) -> Result<Texture> {
    let texture = device.new_texture(descriptor)?;
    for level in 0..descriptor.mip_level_count {
        for slice in 0..descriptor.slice_count() {
            let size = texture.packed_size(level) as u32;
            let byte = |i: u32| ((i * 29 + 11 * slice + 23 * level) % 31 + 16) as u8;
            let bytes: Vec<u8> = match descriptor.format {
                PixelFormat::Depth32Float => {
                    (0..size / 4).flat_map(|i| (f32::from(byte(i)) / 64.0).to_le_bytes()).collect()
                }
                _ => (0..size).map(byte).collect(),
            };
            texture.replace_region(level, slice, &bytes)?;
        }
    }
    Ok(texture)
}

impl Case<'_> {
    /// What it leaves in `out`, and in the textures.
    fn run_on(&self, device: &Device) -> Result<(Vec<f32>, Vec<Vec<u8>>)> {
        let table = device.new_argument_table();
        let mut textures = Vec::new();
        for (name, descriptor) in self.textures {
            let texture = filled(device, descriptor)?;
            table.set_texture(*name, &texture);
            textures.push((texture, descriptor));
        }
        let (filter, address_modes) = (self.filter, [self.address; 3]);
        let how = SamplerDescriptor {
            mag_filter: filter,
            min_filter: filter,
            mip_filter: self.mip_filter,
            address_modes,
            ..Default::default()
        };
        table.set_sampler("how", &device.new_sampler(&how)?);
        let compare = Some(CompareFunction::Less);
        table.set_sampler(
            "test",
            &device.new_sampler(&SamplerDescriptor { address_modes, compare, ..Default::default() })?,
        );
        let out = device.new_buffer_with_data(&vec![0u8; 16 * self.results.max(1)])?;
        table.set_buffer("out", &out);
        run(device, self.source, &table, self.groups)?;
        let slices = |(texture, descriptor): &(Texture, &TextureDescriptor)| {
            (0..descriptor.slice_count()).map(|slice| texture.get_bytes(0, slice)).collect::<Vec<_>>()
        };
        let textures = textures.iter().flat_map(slices).collect::<Result<_>>()?;
        Ok((to_f32s(&out.read(0, 16 * self.results)?), textures))
    }

    /// Compares all drivers with the interpreter.
    pub(crate) fn check(&self) {
        let (floats, texels) =
            self.run_on(&reference()).unwrap_or_else(|why| panic!("{why}: {}", self.source));
        for driver in drivers() {
            let known = |(name, part, _): &&(&str, &str, &str)| {
                driver.name.contains(name) && self.source.contains(part)
            };
            let says = UNSUPPORTED.iter().find(known).map(|(.., says)| *says);
            let (got, got_texels) = match (driver.run(self.source, |device| self.run_on(device)), says) {
                (Ok(got), None) => got,
                (Ok(_), Some(_)) => panic!("{}: it can do it: {}", driver.name, self.source),
                (Err(why), Some(says)) if why.to_string().contains(says) => {
                    eprintln!("skipped: {}: {why}", driver.name);
                    continue;
                }
                (Err(why), _) => panic!("{}: {why}: {}", driver.name, self.source),
            };
            assert_eq!(got_texels, texels, "{}: {}", driver.name, self.source);
            let differs = |(at, (got, expected)): (usize, (&f32, &f32))| {
                let close = (got - expected).abs() <= self.accuracy;
                (!close).then(|| format!("{}: float {at}: {got}, not {expected}", driver.name))
            };
            match (
                got.iter().zip(&floats).enumerate().find_map(differs),
                driver.known_difference(self.source),
            ) {
                (None, _) => {}
                (Some(_), Some(why)) => eprintln!("differs: {}: {why}", driver.name),
                (Some(what), None) => panic!("{what}\n{}", self.source),
            }
        }
    }
}

pub(crate) fn of(
    texture_type: TextureType,
    format: PixelFormat,
    [width, height, depth]: [u32; 3],
) -> TextureDescriptor {
    let (array_length, depth) = if texture_type == TextureType::D3 { (1, depth) } else { (depth, 1) };
    TextureDescriptor { texture_type, format, depth, array_length, ..TextureDescriptor::d2(width, height) }
}

#[test]
fn atomic_operations_on_texels() {
    for (name, format, scalar) in
        [("r32uint", PixelFormat::R32Uint, "u32"), ("r32sint", PixelFormat::R32Sint, "i32")]
    {
        let source = format!(
            "@group(0) @binding(0) var plane: texture_storage_2d<{name}, atomic>;
            @group(0) @binding(1) var layers: texture_storage_2d_array<{name}, atomic>;
            @group(0) @binding(2) var block: texture_storage_3d<{name}, atomic>;
            @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
                let v = ({scalar}(id.x) - {scalar}(9)) * {scalar}(0x1234567);
                textureAtomicAdd(plane, vec2(0u, 0u), v);
                textureAtomicMin(plane, vec2(1u, 0u), v);
                textureAtomicMax(plane, vec2(2u, 0u), v);
                textureAtomicAnd(plane, vec2(0u, 1u), ~v);
                textureAtomicOr(plane, vec2(1u, 1u), v);
                textureAtomicXor(plane, vec2(2, 1), v);
                textureAtomicAdd(plane, vec2(id.x, 5u), v);
                if id.x % 3u == 1u {{ textureAtomicAdd(layers, vec2(id.x % 2u, 0u), id.x % 4u, v); }}
                textureAtomicXor(block, vec3(id.x % 2u, id.x / 2u % 2u, id.x / 4u), v);
            }}"
        );
        let textures = [
            ("plane", of(TextureType::D2, format, [3, 2, 1])),
            ("layers", of(TextureType::D2Array, format, [2, 1, 3])),
            ("block", of(TextureType::D3, format, [2, 2, 3])),
        ];
        Case { source: &source, textures: &textures, ..Case::default() }.check();
    }
}

/// Formats of storage textures with their scalars.
const READ: &[(&str, PixelFormat, &str)] = &[
    ("r8unorm", PixelFormat::R8Unorm, "f32"),
    ("rg8uint", PixelFormat::Rg8Uint, "u32"),
    ("rgba8unorm", PixelFormat::Rgba8Unorm, "f32"),
    ("rgba8snorm", PixelFormat::Rgba8Snorm, "f32"),
    ("rgba8uint", PixelFormat::Rgba8Uint, "u32"),
    ("rgba8sint", PixelFormat::Rgba8Sint, "i32"),
    ("r16float", PixelFormat::R16Float, "f32"),
    ("rg16sint", PixelFormat::Rg16Sint, "i32"),
    ("rgba16float", PixelFormat::Rgba16Float, "f32"),
    ("rgba16uint", PixelFormat::Rgba16Uint, "u32"),
    ("rgba16sint", PixelFormat::Rgba16Sint, "i32"),
    ("r32float", PixelFormat::R32Float, "f32"),
    ("r32uint", PixelFormat::R32Uint, "u32"),
    ("r32sint", PixelFormat::R32Sint, "i32"),
    ("rg32float", PixelFormat::Rg32Float, "f32"),
    ("rgba32float", PixelFormat::Rgba32Float, "f32"),
    ("rgba32uint", PixelFormat::Rgba32Uint, "u32"),
    ("rgba32sint", PixelFormat::Rgba32Sint, "i32"),
    ("rgb10a2unorm", PixelFormat::Rgb10a2Unorm, "f32"),
    ("rg11b10ufloat", PixelFormat::Rg11b10Float, "f32"),
];

#[test]
fn storage_textures_that_are_read() {
    for (name, format, scalar) in READ {
        // Channels that change places have as many bits: how others round is for the device to choose.
        let source = format!(
            "@group(0) @binding(0) var from_image: texture_storage_2d<{name}, read>;
            @group(0) @binding(1) var both: texture_storage_2d<{name}, read_write>;
            @group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
            @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
                let at = vec2(id.x % 8u, id.x / 8u);
                let texel = textureLoad(from_image, vec2(textureDimensions(from_image).x - 1u - at.x, at.y));
                let old = textureLoad(both, vec2<i32>(at));
                textureStore(both, at, select(old, texel.yxzw, vec4(id.x % 3u == 1u)));
                let beyond = textureLoad(from_image, at + vec2(100u, 0u)).x;
                let again = vec4<{scalar}>(textureLoad(both, at).xy, texel.z, beyond);
                out[id.x] = vec4f(again % vec4(vec4<{scalar}>(1021)));
            }}"
        );
        let textures = ["from_image", "both"].map(|name| (name, of(TextureType::D2, *format, [8, 3, 1])));
        Case { source: &source, textures: &textures, results: 24, accuracy: 1e-6, ..Case::default() }.check();
    }
}

#[test]
fn storage_textures_of_each_shape_are_read() {
    let source = "
        @group(0) @binding(0) var line: texture_storage_1d<rgba16float, read>;
        @group(0) @binding(1) var layers: texture_storage_2d_array<r32uint, read_write>;
        @group(0) @binding(2) var block: texture_storage_3d<rgba8uint, read_write>;
        @group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
            let i = id.x;
            let sizes = vec3(textureDimensions(line), textureNumLayers(layers), textureDimensions(block).z);
            out[i] = textureLoad(line, i32(i) - 2) + vec4f(vec3f(sizes), 0.0);
            let at = vec2(i % 2u, 0u);
            textureStore(layers, at, i / 2u, textureLoad(layers, at, i / 2u) + textureLoad(layers, at, 5u));
            let place = vec3(i % 2u, i / 2u % 2u, i / 4u);
            textureStore(block, place, textureLoad(block, place).wzyx + vec4(1u, 2u, 3u, 4u));
        }";
    let textures = [
        ("line", of(TextureType::D1, PixelFormat::Rgba16Float, [8, 1, 1])),
        ("layers", of(TextureType::D2Array, PixelFormat::R32Uint, [2, 1, 4])),
        ("block", of(TextureType::D3, PixelFormat::Rgba8Uint, [2, 2, 2])),
    ];
    Case { source, textures: &textures, groups: 1, results: 8, ..Case::default() }.check();
}

#[test]
fn gathers_with_offsets() {
    let source = "
        @group(0) @binding(0) var plane: texture_2d<f32>;
        @group(0) @binding(1) var numbers: texture_2d<u32>;
        @group(0) @binding(2) var signed: texture_2d_array<i32>;
        @group(0) @binding(3) var depth: texture_depth_2d;
        @group(0) @binding(4) var depths: texture_depth_2d_array;
        @group(0) @binding(5) var how: sampler;
        @group(0) @binding(6) var test: sampler_comparison;
        @group(0) @binding(7) var<storage, read_write> out: array<vec4f>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
            // Not where one texel ends and the next begins.
            let uv = (vec2f(vec2(id.x % 5u, id.x / 5u)) + vec2(0.85, 0.7)) / vec2(5.0, 4.0);
            let at = id.x * 12u;
            out[at] = textureGather(0, plane, how, uv, vec2(1, -1));
            out[at + 1u] = textureGather(1, plane, how, uv, vec2(-3, 2));
            out[at + 2u] = textureGather(2, plane, how, uv, vec2(0, 1));
            out[at + 3u] = textureGather(3, plane, how, uv, vec2(7, -8));
            out[at + 4u] = vec4f(textureGather(2, numbers, how, uv, vec2(1, 1)));
            out[at + 5u] = vec4f(textureGather(3, numbers, how, uv));
            out[at + 6u] = vec4f(textureGather(1, signed, how, uv, id.x % 3u, vec2(-1, -1)));
            out[at + 7u] = textureGather(depth, how, uv, vec2(2, -1));
            out[at + 8u] = textureGather(depths, how, uv, id.x % 2u, vec2(-1, 0));
            out[at + 9u] = textureGatherCompare(depth, test, uv, 0.6, vec2(1, 2));
            out[at + 10u] = textureGatherCompare(depths, test, uv, id.x % 2u, 0.45, vec2(-2, -1));
            out[at + 11u] = textureSampleLevel(plane, how, uv, 0.0, vec2(2, -3));
        }";
    let textures = [
        ("plane", of(TextureType::D2, PixelFormat::Rgba8Unorm, [5, 4, 1])),
        ("numbers", of(TextureType::D2, PixelFormat::Rgba8Uint, [5, 4, 1])),
        ("signed", of(TextureType::D2Array, PixelFormat::Rgba8Sint, [5, 4, 3])),
        ("depth", of(TextureType::D2, PixelFormat::Depth32Float, [5, 4, 1])),
        ("depths", of(TextureType::D2Array, PixelFormat::Depth32Float, [5, 4, 2])),
    ];
    for address in [AddressMode::ClampToEdge, AddressMode::Repeat, AddressMode::MirrorRepeat] {
        let case = Case { source, textures: &textures, address, results: 24 * 12, ..Case::default() };
        Case { accuracy: 1e-6, ..case }.check();
    }
}

#[test]
fn samples_with_gradients() {
    let source = "
        @group(0) @binding(0) var plane: texture_2d<f32>;
        @group(0) @binding(1) var layers: texture_2d_array<f32>;
        @group(0) @binding(2) var block: texture_3d<f32>;
        @group(0) @binding(3) var how: sampler;
        @group(0) @binding(4) var<storage, read_write> out: array<vec4f>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
            // In the middle of texels, and of what one level is taken for.
            let uv = (vec2f(vec2(id.x % 8u, id.x / 3u)) + 0.5) / 8.0;
            let step = exp2(f32(id.x % 4u)) / 8.0;
            let at = id.x * 6u;
            out[at] = textureSampleGrad(plane, how, uv, vec2(step, 0.0), vec2(0.0, step * 0.25));
            out[at + 1u] = textureSampleGrad(plane, how, uv, vec2(0.0, 0.01), vec2(0.0, -step));
            out[at + 2u] = textureSampleGrad(plane, how, uv, vec2(step, 0.0), vec2(0.0, step), vec2(1, -2));
            out[at + 3u] = textureSampleGrad(layers, how, uv, id.x % 3u, vec2(step, 0.0), vec2(0.0));
            out[at + 4u] = textureSampleGrad(layers, how, uv, 1u, vec2(0.0), vec2(step, 0.0), vec2(-1, 1));
            out[at + 5u] = textureSampleGrad(block, how, vec3(uv, 0.7), vec3(0.0, 0.0, step), vec3(0.0));
        }";
    let levels = |descriptor| TextureDescriptor { mip_level_count: 4, ..descriptor };
    let textures = [
        ("plane", levels(of(TextureType::D2, PixelFormat::Rgba8Unorm, [8, 8, 1]))),
        ("layers", levels(of(TextureType::D2Array, PixelFormat::Rgba8Unorm, [8, 8, 3]))),
        ("block", levels(of(TextureType::D3, PixelFormat::Rgba8Unorm, [8, 8, 8]))),
    ];
    for filter in [FilterMode::Nearest, FilterMode::Linear] {
        let case = Case { source, textures: &textures, filter, mip_filter: filter, ..Case::default() };
        Case { results: 24 * 6, accuracy: FILTER, address: AddressMode::Repeat, ..case }.check();
    }
}
