//! Texture loads, stores, sizes and samples, on every engine.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    AddressMode, Binding, CompareFunction, Engine, Filter, Lanes, Launch, LevelLayout, Outcome,
    SamplerBinding, TextureBinding, TextureDimension, texel::TexelFormat,
};

use crate::harness::{self, ENGINES_AND_RECORDERS, Memory, compile, to_f32s, to_u32s};

/// A view with one level of `size` texels.
fn texture(memory: &mut Memory, format: TexelFormat, dimension: TextureDimension, size: [u32; 3]) -> Binding {
    let row_pitch = u64::from(size[0] * format.bytes());
    let slice_pitch = row_pitch * u64::from(size[1]);
    let level = LevelLayout {
        ptr: memory.ptr(),
        width: size[0],
        height: size[1],
        depth_or_layers: size[2],
        row_pitch,
        slice_pitch,
    };
    Binding::Texture(TextureBinding { format, dimension, levels: vec![level] })
}

/// Runs a launch, and gives what a record of it says.
fn run(
    source: &str,
    engine: Engine,
    lanes: Lanes,
    bindings: &[Binding],
    grid: [u32; 3],
) -> Option<Vec<String>> {
    let kernel = match compile(source, "main", &[], engine, lanes) {
        Ok(kernel) => kernel,
        Err(error) => panic!("{engine:?} {lanes:?}: {error}"),
    };
    let stop = AtomicBool::new(false);
    let launch = Launch { grid, threads: None, bindings, immediates: &[], stop: &stop };
    // SAFETY: the bindings belong to the caller, who uses them for nothing else meanwhile.
    let (outcome, recorder) = unsafe { harness::run(&kernel, lanes, &launch) };
    assert_eq!(outcome, Outcome::Done);
    assert!(recorder.as_ref().is_none_or(|recorder| !harness::races(recorder)));
    recorder.map(|recorder| harness::gist(&recorder, bindings))
}

#[test]
fn storage_textures_of_each_format() {
    let formats = [
        ("rgba8unorm", "f32", TexelFormat::Rgba8Unorm),
        ("rgba8snorm", "f32", TexelFormat::Rgba8Snorm),
        ("rgba8uint", "u32", TexelFormat::Rgba8Uint),
        ("rgba8sint", "i32", TexelFormat::Rgba8Sint),
        ("bgra8unorm", "f32", TexelFormat::Bgra8Unorm),
        ("r8unorm", "f32", TexelFormat::R8Unorm),
        ("r32float", "f32", TexelFormat::R32Float),
        ("r32uint", "u32", TexelFormat::R32Uint),
        ("rg16float", "f32", TexelFormat::Rg16Float),
        ("rgba16float", "f32", TexelFormat::Rgba16Float),
        ("rgba16uint", "u32", TexelFormat::Rgba16Uint),
        ("rgba32float", "f32", TexelFormat::Rgba32Float),
        ("rgba32float", "f32", TexelFormat::Rgba32Float),
        ("rgb10a2unorm", "f32", TexelFormat::Rgb10a2Unorm),
        ("rg11b10ufloat", "f32", TexelFormat::Rg11b10Ufloat),
    ];
    for (name, scalar, format) in formats {
        let source = format!(
            "@group(0) @binding(0) var from_image: texture_2d<{scalar}>;
            @group(0) @binding(1) var to_image: texture_storage_2d<{name}, write>;
            @compute @workgroup_size(4, 2) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                let size = textureDimensions(from_image);
                let texel = textureLoad(from_image, vec2<i32>(i32(size.x) - 1 - i32(id.x), i32(id.y)), 0);
                if (id.x != 2u) {{ textureStore(to_image, id.xy, texel); }}
            }}"
        );
        let bytes: Vec<u8> = (0..7 * 3 * format.bytes()).map(|i| (i * 37 % 113) as u8).collect();
        let texel = |bytes: &[u8], x: usize, y: usize| {
            format.decode(&bytes[(y * 7 + x) * format.bytes() as usize..][..format.bytes() as usize])
        };
        for (engine, lanes) in ENGINES_AND_RECORDERS {
            let (mut from, mut to) = (Memory::new(&bytes), Memory::new(&vec![0; bytes.len()]));
            let bindings = [
                texture(&mut from, format, TextureDimension::D2, [7, 3, 1]),
                texture(&mut to, format, TextureDimension::D2, [7, 3, 1]),
            ];
            run(&source, engine, lanes, &bindings, [2, 2, 1]);
            let got = to.bytes();
            for (x, y) in (0..3).flat_map(|y| (0..7).map(move |x| (x, y))) {
                let expected = if x == 2 {
                    format.decode(&[0; 16])
                } else {
                    format.decode(&format.encode(texel(&bytes, 6 - x, y)))
                };
                assert_eq!(texel(&got, x, y), expected, "{name} {engine:?} {lanes:?} {x} {y}");
            }
        }
    }
}

#[test]
fn plain_texels_are_the_same_in_machine_code() {
    for (name, format) in [
        ("rgba8unorm", TexelFormat::Rgba8Unorm),
        ("rgba32float", TexelFormat::Rgba32Float),
        ("r32float", TexelFormat::R32Float),
    ] {
        // The width leaves a quad half outside; one store is whole, one was taken apart.
        let source = format!(
            "@group(0) @binding(0) var from_image: texture_2d<f32>;
            @group(0) @binding(1) var whole: texture_storage_2d<{name}, write>;
            @group(0) @binding(2) var apart: texture_storage_2d<{name}, write>;
            @compute @workgroup_size(4, 2) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
                let at = vec2<i32>(id.xy);
                let texel = textureLoad(from_image, at, 0) + textureLoad(from_image, at - vec2(3, 1), 0);
                textureStore(whole, at, texel * 1.5 - vec4(0.2, 0.0, 0.5, 0.1));
                let odd = textureLoad(from_image, vec2(at.x, 9 - at.y), 0);
                textureStore(apart, at, vec4(odd.w / (f32(id.x) - 2.0), sqrt(odd.x - 0.3), odd.y, 1.0));
            }}"
        );
        let texels: Vec<u8> = (0..60u32)
            .flat_map(|i| format.encode([i * 4, i * 3, i * 2, i].map(|v| (v as f32 / 200.0).to_bits())))
            .enumerate()
            .filter(|(i, _)| i % 16 < format.bytes() as usize)
            .map(|(_, byte)| byte)
            .collect();
        let results = ENGINES_AND_RECORDERS.map(|(engine, lanes)| {
            let mut memories =
                [&texels, &vec![9; texels.len()], &vec![9; texels.len()]].map(|b| Memory::new(b));
            let bindings =
                memories.each_mut().map(|memory| texture(memory, format, TextureDimension::D2, [10, 6, 1]));
            run(&source, engine, lanes, &bindings, [3, 4, 1]);
            memories.map(|mut memory| memory.bytes())
        });
        assert_ne!(results[0][1], vec![9; texels.len()]);
        for (result, (engine, lanes)) in results.iter().zip(ENGINES_AND_RECORDERS) {
            // The sign of a NaN is nobody's business.
            let plain = |bytes: &Vec<u8>| match format {
                TexelFormat::Rgba32Float | TexelFormat::R32Float => {
                    to_f32s(bytes).iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect()
                }
                _ => to_u32s(bytes),
            };
            assert_eq!(
                result.each_ref().map(plain),
                results[0].each_ref().map(plain),
                "{name} {engine:?} {lanes:?}"
            );
        }
    }
}

#[test]
fn samples_in_every_way() {
    let source = "
        @group(0) @binding(0) var image: texture_2d_array<f32>;
        @group(0) @binding(1) var smp: sampler;
        @group(0) @binding(2) var depth: texture_depth_2d;
        @group(0) @binding(3) var cmp: sampler_comparison;
        @group(0) @binding(4) var cube: texture_cube<f32>;
        @group(0) @binding(5) var block: texture_3d<f32>;
        @group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let t = f32(id.x) / 9.0 - 1.3;
            let uv = vec2(t, t * 0.7 + 0.1);
            let at = id.x * 8u;
            out[at] = textureSampleLevel(image, smp, uv, 1, 0.0);
            out[at + 1u] = textureSampleLevel(image, smp, uv, i32(id.x % 4u) - 1, 0.4, vec2(1, -2));
            out[at + 2u] = textureGather(2, image, smp, uv, 0);
            out[at + 3u] = vec4(textureSampleCompareLevel(depth, cmp, uv, 0.5));
            out[at + 4u] = textureGatherCompare(depth, cmp, uv, 0.3);
            out[at + 5u] = textureSampleLevel(cube, smp, vec3(t, 0.4 - t, 0.3), 0.0);
            out[at + 6u] = textureSampleGrad(block, smp, vec3(uv, t), vec3(0.1, 0.0, 0.0), vec3(0.0, 0.2, 0.0));
            out[at + 7u] = vec4(f32(textureNumLayers(image)), f32(textureNumLevels(cube)), f32(textureDimensions(block).z), textureLoad(depth, vec2(1, 1), 0));
        }";
    let modes = [
        AddressMode::ClampToEdge,
        AddressMode::Repeat,
        AddressMode::MirrorRepeat,
        AddressMode::MirrorClampToEdge,
        AddressMode::ClampToBorder,
    ];
    let colors: Vec<u8> = (0..512u32).map(|i| (i * 73 % 251) as u8).collect();
    let depths: Vec<u8> = (0..16u32).flat_map(|i| ((i * 5 % 16) as f32 / 16.0).to_le_bytes()).collect();
    for (mode, filter) in modes.into_iter().flat_map(|mode| [(mode, Filter::Nearest), (mode, Filter::Linear)])
    {
        let sampler = SamplerBinding {
            mag_filter: filter,
            min_filter: filter,
            address: [mode; 3],
            border: [0.25, 0.5, 0.75, 1.0],
            compare: Some(CompareFunction::Less),
            ..SamplerBinding::default()
        };
        let mut results = Vec::new();
        for (engine, lanes) in ENGINES_AND_RECORDERS {
            let (mut image, mut depth) = (Memory::new(&colors), Memory::new(&depths));
            let mut out = Memory::new(&[0; 24 * 8 * 16]);
            let bindings = [
                texture(&mut image, TexelFormat::Rgba8Unorm, TextureDimension::D2Array, [4, 3, 3]),
                Binding::Sampler(sampler),
                texture(&mut depth, TexelFormat::Depth32Float, TextureDimension::D2, [4, 4, 1]),
                Binding::Sampler(sampler),
                texture(&mut image, TexelFormat::Rgba8Unorm, TextureDimension::Cube, [2, 2, 6]),
                texture(&mut image, TexelFormat::Rgba8Unorm, TextureDimension::D3, [3, 4, 2]),
                out.binding(),
            ];
            run(source, engine, lanes, &bindings, [3, 1, 1]);
            results.push(out.bytes());
        }
        assert!(results.iter().all(|result| to_u32s(result) == to_u32s(&results[0])), "{mode:?} {filter:?}");
        let first = to_f32s(&results[0]);
        assert_eq!(first[28..31], [3.0, 1.0, 2.0]);
        if mode == AddressMode::ClampToBorder {
            assert_eq!(first[..4], [0.25, 0.5, 0.75, 1.0]);
        }
    }
}

#[test]
fn linear_filters_blend() {
    let source = "
        @group(0) @binding(0) var image: texture_2d<f32>;
        @group(0) @binding(1) var smp: sampler;
        @group(0) @binding(2) var<storage, read_write> out: array<f32, 4>;
        @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {
            out[i] = textureSampleLevel(image, smp, vec2(f32(i) / 4.0 + 0.125, 0.5), 0.0).x;
        }";
    for (engine, lanes) in ENGINES_AND_RECORDERS {
        let mut image = Memory::new(&[0, 255]);
        let mut out = Memory::new(&[0; 16]);
        let sampler = SamplerBinding { mag_filter: Filter::Linear, ..SamplerBinding::default() };
        let view = texture(&mut image, TexelFormat::R8Unorm, TextureDimension::D2, [2, 1, 1]);
        run(source, engine, lanes, &[view, Binding::Sampler(sampler), out.binding()], [1, 1, 1]);
        assert_eq!(to_f32s(&out.bytes()), [0.0, 0.25, 0.75, 1.0]);
    }
}

#[test]
fn each_of_a_subgroup_tells_of_its_texels() {
    let source = "
        @group(0) @binding(0) var picture: texture_2d<u32>;
        @group(0) @binding(1) var<storage, read_write> sums: array<u32>;
        @group(0) @binding(2) var target_: texture_storage_2d<r32uint, write>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var sum = subgroupAdd(textureLoad(picture, vec2(id.x % 4u, id.x / 4u), 0).x);
            if id.x % 4u != 0u { sum += textureLoad(picture, vec2(3u, 2u), 0).x; }
            if id.x % 3u == 1u { sum += textureLoad(picture, vec2(id.x, 1u), 0).x; }
            textureStore(target_, vec2(id.x, 0u), vec4(sum));
            sums[id.x] = sum;
        }";
    let mut seen = None;
    for (engine, lanes) in ENGINES_AND_RECORDERS {
        let words = |count: u32| (0..count).flat_map(|i| (7 * i + 1).to_le_bytes()).collect::<Vec<u8>>();
        let (mut from, mut sums, mut to) =
            (Memory::new(&words(24)), Memory::new(&[0; 64]), Memory::new(&[0; 48]));
        let bindings = [
            texture(&mut from, TexelFormat::R32Uint, TextureDimension::D2, [6, 4, 1]),
            sums.binding(),
            texture(&mut to, TexelFormat::R32Uint, TextureDimension::D2, [12, 1, 1]),
        ];
        let record = run(source, engine, lanes, &bindings, [2, 1, 1]);
        let (values, kept) = seen.get_or_insert_with(|| (sums.bytes(), record.clone()));
        assert_eq!(*values, sums.bytes(), "{engine:?} {lanes:?}");
        if let Some(record) = record {
            assert_eq!(*kept.get_or_insert_with(|| record.clone()), record, "{engine:?} {lanes:?}");
        }
    }
}
