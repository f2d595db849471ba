//! Texture operations that few kernels use, on every engine: atomics, storage textures that are read, every way to ask
//! and to gather, and clamped samples.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    AddressMode, Binding, CompareFunction, Filter, Launch, LevelLayout, Outcome, SamplerBinding,
    TextureBinding, TextureDimension, texel::TexelFormat,
};

use crate::harness::{self, ENGINES_AND_RECORDERS, Memory, compile, to_u32s, u32s};

/// A view with levels of these sizes, one after the other.
fn view(
    memory: &mut Memory,
    format: TexelFormat,
    dimension: TextureDimension,
    sizes: &[[u32; 3]],
) -> Binding {
    let mut offset = 0;
    let levels = sizes.iter().map(|[width, height, depth]| {
        let row_pitch = u64::from(width * format.bytes());
        let slice_pitch = row_pitch * u64::from(*height);
        let ptr = memory.ptr().wrapping_add(offset);
        offset += (slice_pitch * u64::from(*depth)) as usize;
        LevelLayout { ptr, width: *width, height: *height, depth_or_layers: *depth, row_pitch, slice_pitch }
    });
    let levels = levels.collect();
    Binding::Texture(TextureBinding { format, dimension, levels })
}

/// Runs on every engine, which have to agree on the bytes of the last memory.
fn check(
    source: &str,
    grid: u32,
    memories: &[Vec<u8>],
    bind: impl Fn(&mut [Memory]) -> Vec<Binding>,
) -> Vec<u32> {
    let mut results = Vec::new();
    for (engine, lanes) in ENGINES_AND_RECORDERS {
        let kernel = match compile(source, "main", &[], engine, lanes) {
            Ok(kernel) => kernel,
            Err(error) => panic!("{engine:?} {lanes:?}: {error}"),
        };
        let mut memories: Vec<Memory> = memories.iter().map(|bytes| Memory::new(bytes)).collect();
        let bindings = bind(&mut memories);
        let stop = AtomicBool::new(false);
        let (bindings, grid) = (&bindings[..], [grid, 1, 1]);
        let launch = Launch { grid, threads: None, bindings, immediates: &[], stop: &stop };
        // SAFETY: the memories outlive the call, and nothing else uses them.
        let (outcome, _) = unsafe { harness::run(&kernel, lanes, &launch) };
        assert_eq!(outcome, Outcome::Done);
        results.push(memories.iter_mut().map(Memory::bytes).collect::<Vec<_>>());
        let same = |a: &[Vec<u8>], b: &[Vec<u8>]| {
            let nan = |word: u32| f32::from_bits(word).is_nan();
            let words = |all: &[Vec<u8>]| all.iter().flat_map(|bytes| to_u32s(bytes)).collect::<Vec<_>>();
            words(a).into_iter().zip(words(b)).all(|(a, b)| a == b || nan(a) && nan(b))
        };
        assert!(same(&results[0], &results[results.len() - 1]), "{engine:?} {lanes:?}: {source}");
    }
    results[0].last().map(|bytes| to_u32s(bytes)).unwrap_or_default()
}

#[test]
fn atomic_operations_on_texels() {
    for (format, ty, stored) in
        [("r32uint", "u32", TexelFormat::R32Uint), ("r32sint", "i32", TexelFormat::R32Sint)]
    {
        let source = format!(
            "@group(0) @binding(0) var picture: texture_storage_2d<{format}, atomic>;
            @group(0) @binding(1) var layers: texture_storage_2d_array<{format}, atomic>;
            @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                let v = {ty}(id.x) * 3 - 20;
                textureAtomicAdd(picture, vec2(0u, 0u), {ty}(id.x));
                textureAtomicMin(picture, vec2(1u, 0u), v);
                textureAtomicMax(picture, vec2(2u, 0u), v);
                textureAtomicAnd(picture, vec2(0u, 1u), ~v);
                textureAtomicOr(picture, vec2(1u, 1u), v);
                textureAtomicXor(picture, vec2(2u, 1u), v);
                textureAtomicAdd(picture, vec2(id.x, 5u), v);
                if (id.x % 3u == 1u) {{ textureAtomicAdd(layers, vec2(id.x % 2u, 0u), id.x % 3u, v); }}
            }}"
        );
        let source = if ty == "u32" { source.replace("* 3 - 20", "* 3u") } else { source };
        let got = check(&source, 2, &[vec![0; 16], vec![0x33; 24]], |memories| {
            let [layers, picture] = memories else { return Vec::new() };
            vec![
                view(picture, stored, TextureDimension::D2, &[[3, 2, 1]]),
                view(layers, stored, TextureDimension::D2Array, &[[2, 1, 2]]),
            ]
        });
        assert_eq!(got[0], 0x3333_3333 + 120);
    }
}

#[test]
fn texels_under_a_mask() {
    let source = "
        @group(0) @binding(0) var from_image: texture_2d<f32>;
        @group(0) @binding(1) var to_image: texture_storage_2d<rgba8unorm, write>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let x = id.x % 8u;
            if ((id.x * 5u) % 7u > 2u) {
                let at = vec2(select(x, 1000u, x == 3u), id.x / 8u);
                textureStore(to_image, at, textureLoad(from_image, at, 0).zyxw * 0.5);
            } else if (x < 6u) {
                textureStore(to_image, vec2(x, id.x / 8u), textureLoad(from_image, vec2(5u - x, 1u), 0));
            }
        }";
    for format in [TexelFormat::Rgba8Unorm, TexelFormat::Rgba32Float, TexelFormat::R32Float] {
        let size = 16 * format.bytes();
        let floats = |i: u32| (i as f32 / 16.0).to_le_bytes();
        let bytes = match format {
            TexelFormat::Rgba8Unorm => (0..size).map(|i| (i * 7) as u8).collect(),
            _ => (0..size / 4).flat_map(floats).collect(),
        };
        check(source, 2, &[bytes, vec![0; size as usize]], |memories| {
            memories
                .iter_mut()
                .map(|memory| view(memory, format, TextureDimension::D2, &[[8, 2, 1]]))
                .collect()
        });
    }
}

#[test]
fn storage_textures_that_are_read_and_written() {
    let source = "
        @group(0) @binding(0) var line: texture_storage_1d<rgba16float, read>;
        @group(0) @binding(1) var plane: texture_storage_2d<r32float, read_write>;
        @group(0) @binding(2) var layers: texture_storage_2d_array<rg8snorm, write>;
        @group(0) @binding(3) var block: texture_storage_3d<rgba8uint, read_write>;
        @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            let size = vec4(textureDimensions(line), textureDimensions(plane).y, textureNumLayers(layers), textureDimensions(block).z);
            let texel = textureLoad(line, i) + textureLoad(line, i32(i) - 2);
            let old = textureLoad(plane, vec2(i, i % 2u));
            textureStore(plane, vec2(i, i % 2u), old + texel * f32(size.x));
            textureStore(layers, vec2(i32(i) % 3, 0), i % 4u, texel * 0.25);
            let bytes = textureLoad(block, vec3(i % 2u, i / 2u % 2u, i / 4u));
            textureStore(block, vec3(i % 2u, i / 2u % 2u, i / 4u), bytes + vec4(1u, 2u, 3u, 300u) + size);
        }";
    let memories = [
        (0..64u32).map(|i| if i % 2 == 0 { (i * 7) as u8 } else { 0x3C }).collect::<Vec<u8>>(),
        (0..16).flat_map(|i| (i as f32).to_le_bytes()).collect(),
        vec![0; 24],
        (0..32).collect(),
    ];
    check(source, 2, &memories, |memories| {
        let [line, plane, layers, block] = memories else { return Vec::new() };
        vec![
            view(line, TexelFormat::Rgba16Float, TextureDimension::D1, &[[8, 1, 1]]),
            view(plane, TexelFormat::R32Float, TextureDimension::D2, &[[8, 2, 1]]),
            view(layers, TexelFormat::Rg8Snorm, TextureDimension::D2Array, &[[3, 1, 4]]),
            view(block, TexelFormat::Rgba8Uint, TextureDimension::D3, &[[2, 2, 2]]),
        ]
    });
}

#[test]
fn every_storage_format_round_trips() {
    use TexelFormat as T;
    let formats = [
        ("r8unorm", T::R8Unorm, "f32"),
        ("r8snorm", T::R8Snorm, "f32"),
        ("r8uint", T::R8Uint, "u32"),
        ("r8sint", T::R8Sint, "i32"),
        ("r16uint", T::R16Uint, "u32"),
        ("r16sint", T::R16Sint, "i32"),
        ("r16float", T::R16Float, "f32"),
        ("rg8unorm", T::Rg8Unorm, "f32"),
        ("rg8snorm", T::Rg8Snorm, "f32"),
        ("rg8uint", T::Rg8Uint, "u32"),
        ("rg8sint", T::Rg8Sint, "i32"),
        ("r32sint", T::R32Sint, "i32"),
        ("rg16uint", T::Rg16Uint, "u32"),
        ("rg16sint", T::Rg16Sint, "i32"),
        ("rgba8sint", T::Rgba8Sint, "i32"),
        ("rg32uint", T::Rg32Uint, "u32"),
        ("rg32sint", T::Rg32Sint, "i32"),
        ("rg32float", T::Rg32Float, "f32"),
        ("rgba16sint", T::Rgba16Sint, "i32"),
        ("rgba32uint", T::Rgba32Uint, "u32"),
        ("rgba32sint", T::Rgba32Sint, "i32"),
        ("r16unorm", T::R16Unorm, "f32"),
        ("rg16unorm", T::Rg16Unorm, "f32"),
        ("rgba16unorm", T::Rgba16Unorm, "f32"),
    ];
    for (name, format, ty) in formats {
        let source = format!(
            "@group(0) @binding(0) var picture: texture_storage_2d<{name}, read_write>;
            @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                let old = textureLoad(picture, vec2(id.x, 0u));
                textureStore(picture, vec2(id.x, 1u), old.wzyx + old * {ty}(2) + vec4<{ty}>({ty}(id.x)));
            }}"
        );
        let bytes: Vec<u8> = (0..16 * format.bytes()).map(|i| (i * 29 % 127) as u8).collect();
        check(&source, 2, &[bytes], |memories| {
            memories
                .iter_mut()
                .map(|memory| view(memory, format, TextureDimension::D2, &[[8, 2, 1]]))
                .collect()
        });
    }
}

#[test]
fn every_way_to_sample() {
    let source = "
        @group(0) @binding(0) var plane: texture_2d<f32>;
        @group(0) @binding(1) var numbers: texture_2d<u32>;
        @group(0) @binding(2) var cubes: texture_cube_array<f32>;
        @group(0) @binding(3) var line: texture_1d<f32>;
        @group(0) @binding(4) var depth_layers: texture_depth_2d_array;
        @group(0) @binding(5) var depth_cube: texture_depth_cube;
        @group(0) @binding(6) var how: sampler;
        @group(0) @binding(7) var test: sampler_comparison;
        @group(0) @binding(8) var<storage, read_write> out: array<vec4<f32>>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let t = f32(id.x) / 7.0 - 0.6;
            let uv = vec2(t, 0.8 - t * 1.3);
            let ray = vec3(t, 0.2, 0.7 - t);
            let at = id.x * 17u;
            out[at] = textureSampleBaseClampToEdge(plane, how, uv);
            out[at + 1u] = vec4<f32>(textureGather(1, numbers, how, uv));
            out[at + 2u] = vec4<f32>(textureGather(0, numbers, how, uv, vec2(1, -1)));
            out[at + 3u] = textureSampleLevel(cubes, how, ray, i32(id.x) - 1, 0.3);
            out[at + 4u] = textureGather(3, cubes, how, ray, id.x % 3u);
            out[at + 5u] = textureSampleLevel(line, how, t, 0.0);
            out[at + 6u] = vec4(textureSampleCompareLevel(depth_layers, test, uv, id.x % 3u, 0.4));
            out[at + 7u] = textureGatherCompare(depth_layers, test, uv, id.x % 2u, 0.6, vec2(-1, 2));
            out[at + 8u] = vec4(textureSampleCompareLevel(depth_cube, test, ray, 0.5));
            out[at + 9u] = textureGather(depth_cube, how, ray);
            out[at + 10u] = textureSampleGrad(plane, how, uv, vec2(t, 0.3), vec2(0.0, t), vec2(1, 1));
            out[at + 11u] = vec4(textureSampleLevel(depth_layers, how, uv, id.x % 2u, i32(id.x % 3u)));
            out[at + 12u] = textureSampleLevel(plane, how, uv, t * 3.0);
            out[at + 13u] = vec4(vec2<f32>(textureDimensions(plane, id.x % 4u)), f32(textureNumLevels(plane)), f32(textureNumLayers(cubes)));
            out[at + 14u] = vec4(f32(textureDimensions(line)), vec2<f32>(textureDimensions(cubes)), f32(textureNumLayers(depth_layers)));
            out[at + 15u] = textureLoad(plane, vec2(id.x % 5u, 1u), i32(id.x) - 2) + textureLoad(line, i32(id.x) - 1, 0);
            out[at + 16u] = textureSampleGrad(cubes, how, ray, id.x % 2u, ray.zxy * t, vec3(0.1, t, 0.0));
            if (id.x % 3u == 0u) { out[at] = textureSampleBaseClampToEdge(plane, how, uv * 9.0); }
        }";
    let bytes = |count: u32, step: u32| (0..count).map(|i| (i * step % 251) as u8).collect::<Vec<u8>>();
    let depths =
        |count: u32| (0..count).flat_map(|i| ((i * 7 % 16) as f32 / 16.0).to_le_bytes()).collect::<Vec<u8>>();
    let memories = [
        bytes(4 * (16 + 4 + 1), 37),
        u32s((0..48).map(|i| i * 977)),
        bytes(4 * 48, 73),
        bytes(20, 53),
        depths(27),
        depths(24),
        vec![0; 16 * 17 * 16],
    ];
    for (address, filter) in [
        (AddressMode::ClampToEdge, Filter::Nearest),
        (AddressMode::Repeat, Filter::Linear),
        (AddressMode::MirrorRepeat, Filter::Linear),
        (AddressMode::ClampToBorder, Filter::Linear),
    ] {
        let sampler = SamplerBinding {
            mag_filter: filter,
            min_filter: filter,
            mip_filter: filter,
            address: [address; 3],
            compare: Some(CompareFunction::LessEqual),
            ..SamplerBinding::default()
        };
        check(source, 2, &memories, |memories| {
            let [plane, numbers, cubes, line, layers, cube, out] = memories else { return Vec::new() };
            let sizes = [[4, 4, 1], [2, 2, 1], [1, 1, 1]];
            vec![
                view(plane, TexelFormat::Rgba8Unorm, TextureDimension::D2, &sizes),
                view(numbers, TexelFormat::Rg32Uint, TextureDimension::D2, &[[6, 4, 1]]),
                view(cubes, TexelFormat::Rgba8Unorm, TextureDimension::CubeArray, &[[2, 2, 12]]),
                view(line, TexelFormat::Rgba8Unorm, TextureDimension::D1, &[[5, 1, 1]]),
                view(layers, TexelFormat::Depth32Float, TextureDimension::D2Array, &[[3, 3, 3]]),
                view(cube, TexelFormat::Depth32Float, TextureDimension::Cube, &[[2, 2, 6]]),
                Binding::Sampler(sampler),
                Binding::Sampler(sampler),
                out.binding(),
            ]
        });
    }
}
