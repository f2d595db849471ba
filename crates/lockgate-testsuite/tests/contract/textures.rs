//! Texture kernels on every driver: loads, stores and sizes exactly, samples within the bits that filters have.

use crate::harness::{drivers, reference, to_f32s};
use crate::subjects::run_pass;
use lockgate_runtime::*;

/// Weights of filters have 8 bits at least, in each of three directions, and normalized colours as many.
pub(crate) const FILTER: f32 = 4.0 / 255.0;

const SAMPLES: &str = "
    @group(0) @binding(0) var plane: texture_2d<f32>;
    @group(0) @binding(1) var layers: texture_2d_array<f32>;
    @group(0) @binding(3) var block: texture_3d<f32>;
    @group(0) @binding(4) var depth: texture_depth_2d;
    @group(0) @binding(5) var how: sampler;
    @group(0) @binding(6) var test: sampler_comparison;
    @group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let t = f32(id.x) / 9.0 - 1.271;
        let uv = vec2(t, t * 0.7 + 0.113);
        let at = id.x * 9u;
        out[at] = textureSampleLevel(plane, how, uv, 0.0);
        out[at + 1u] = textureSampleLevel(plane, how, uv, 1.0);
        out[at + 2u] = textureSampleLevel(plane, how, uv, 0.3);
        out[at + 3u] = textureSampleLevel(layers, how, uv, i32(id.x % 4u), 0.0);
        out[at + 4u] = textureGather(2, plane, how, uv);
        out[at + 5u] = textureSampleLevel(block, how, vec3(uv, t), 0.0);
        out[at + 6u] = textureLoad(plane, vec2(id.x % 4u, id.x / 8u), 0) + textureLoad(depth, vec2(1, 1), 0);
        out[at + 7u] = vec4(vec2<f32>(textureDimensions(plane, 1)), f32(textureNumLayers(layers)), f32(textureNumLevels(plane)));
        out[at + 8u] = vec4(textureSampleCompareLevel(depth, test, uv, 0.47));
    }";

/// A texture whose texels are all different.
fn texture(device: &Device, descriptor: &TextureDescriptor) -> Result<Texture> {
    let texture = device.new_texture(descriptor)?;
    for level in 0..descriptor.mip_level_count {
        for slice in 0..descriptor.slice_count() {
            let size = texture.packed_size(level) as u32;
            let byte = |i: u32| (i * 73 + 17 * slice + 5 * level) % 251;
            let bytes: Vec<u8> = match descriptor.format {
                PixelFormat::Depth32Float => {
                    (0..size / 4).flat_map(|i| (byte(i) as f32 / 256.0).to_le_bytes()).collect()
                }
                _ => (0..size).map(|i| byte(i) as u8).collect(),
            };
            texture.replace_region(level, slice, &bytes)?;
        }
    }
    Ok(texture)
}

pub(crate) fn run(device: &Device, source: &str, table: &ArgumentTable, threadgroups: u32) -> Result<()> {
    let pipeline = device.new_compute_pipeline(&device.new_library(source)?, "main")?;
    run_pass(device, |encoder| {
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(table);
        encoder.dispatch_threadgroups([threadgroups, 1, 1]);
    })
    .map(drop)
}

fn samples(device: &Device, filter: FilterMode, address: AddressMode) -> Result<Vec<f32>> {
    let table = device.new_argument_table();
    let plane = TextureDescriptor { mip_level_count: 2, ..TextureDescriptor::d2(4, 4) };
    let of = |texture_type, width, height| TextureDescriptor {
        texture_type,
        ..TextureDescriptor::d2(width, height)
    };
    let layers = TextureDescriptor { array_length: 3, ..of(TextureType::D2Array, 4, 3) };
    let block = TextureDescriptor { depth: 2, ..of(TextureType::D3, 3, 4) };
    let depth = TextureDescriptor { format: PixelFormat::Depth32Float, ..TextureDescriptor::d2(4, 4) };
    table.set_texture("plane", &texture(device, &plane)?);
    table.set_texture("layers", &texture(device, &layers)?);
    table.set_texture("block", &texture(device, &block)?);
    table.set_texture("depth", &texture(device, &depth)?);
    let how = SamplerDescriptor {
        mag_filter: filter,
        min_filter: filter,
        mip_filter: filter,
        address_modes: [address; 3],
        ..Default::default()
    };
    table.set_sampler("how", &device.new_sampler(&how)?);
    // What a comparison of filtered depths gives is for the device to choose.
    let nearest = FilterMode::Nearest;
    let compare = Some(CompareFunction::Less);
    let test = SamplerDescriptor { mag_filter: nearest, min_filter: nearest, compare, ..how };
    table.set_sampler("test", &device.new_sampler(&test)?);
    let out = device.new_buffer_with_data(&vec![0u8; 24 * 9 * 16])?;
    table.set_buffer("out", &out);
    run(device, SAMPLES, &table, 3)?;
    Ok(to_f32s(&out.read(0, 24 * 9 * 16)?))
}

#[test]
fn samples_are_the_same_but_for_the_bits_of_filters() {
    use AddressMode::{ClampToEdge, MirrorRepeat, Repeat};
    for filter in [FilterMode::Nearest, FilterMode::Linear] {
        for address in [ClampToEdge, Repeat, MirrorRepeat] {
            let expected = samples(&reference(), filter, address).unwrap();
            for driver in drivers() {
                let got = driver.run(SAMPLES, |device| samples(device, filter, address).unwrap());
                for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let what =
                        format!("{} {filter:?} {address:?}: line {} of {}", driver.name, at / 4 % 9, at / 36);
                    assert!((got - expected).abs() <= FILTER, "{what}: {got}, not {expected}");
                }
            }
        }
    }
}

/// Formats that kernels store, with their scalars.
const STORED: &[(&str, PixelFormat, &str)] = &[
    ("rgba8unorm", PixelFormat::Rgba8Unorm, "f32"),
    ("rgba8snorm", PixelFormat::Rgba8Snorm, "f32"),
    ("rgba8uint", PixelFormat::Rgba8Uint, "u32"),
    ("rgba8sint", PixelFormat::Rgba8Sint, "i32"),
    ("r32float", PixelFormat::R32Float, "f32"),
    ("r32uint", PixelFormat::R32Uint, "u32"),
    ("r32sint", PixelFormat::R32Sint, "i32"),
    ("rgba16float", PixelFormat::Rgba16Float, "f32"),
    ("rgba16uint", PixelFormat::Rgba16Uint, "u32"),
    ("rgba16sint", PixelFormat::Rgba16Sint, "i32"),
    ("rgba32float", PixelFormat::Rgba32Float, "f32"),
    ("rgba32uint", PixelFormat::Rgba32Uint, "u32"),
    ("rgba32sint", PixelFormat::Rgba32Sint, "i32"),
];

fn stored(device: &Device, source: &str, format: PixelFormat) -> Result<Vec<u8>> {
    let descriptor = TextureDescriptor { format, ..TextureDescriptor::d2(8, 3) };
    let (from, to) = (device.new_texture(&descriptor)?, device.new_texture(&descriptor)?);
    // No infinities, no NaNs, nothing subnormal, no least integer (two of which stand for minus one).
    let bytes: Vec<u8> = (0..from.packed_size(0)).map(|i| (i * 29 % 47 + 16) as u8).collect();
    from.replace_region(0, 0, &bytes)?;
    let table = device.new_argument_table();
    table.set_texture("from_image", &from);
    table.set_texture("to_image", &to);
    run(device, source, &table, 2)?;
    to.get_bytes(0, 0)
}

#[test]
fn texels_of_each_format_are_loaded_and_stored_alike() {
    for (name, format, scalar) in STORED {
        let source = format!(
            "@group(0) @binding(0) var from_image: texture_2d<{scalar}>;
            @group(0) @binding(1) var to_image: texture_storage_2d<{name}, write>;
            @compute @workgroup_size(4, 3) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                let texel = textureLoad(from_image, vec2(textureDimensions(from_image).x - 1u - id.x, id.y), 0);
                if (id.x != 2u) {{ textureStore(to_image, id.xy, texel.zyxw); }}
            }}"
        );
        let expected = stored(&reference(), &source, *format).unwrap();
        for driver in drivers() {
            let got = driver.run(&source, |device| stored(device, &source, *format).unwrap());
            assert_eq!(got, expected, "{} {name}", driver.name);
        }
    }
}
