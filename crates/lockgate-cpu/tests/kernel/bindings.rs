//! Arrays of bindings: every kind of resource, chosen by indices that differ from invocation to invocation.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    AddressMode, Binding, Engine, Filter, Lanes, Launch, LevelLayout, Outcome, SamplerBinding,
    TextureBinding, TextureDimension, texel::TexelFormat,
};

use crate::harness::{self, ENGINES, ENGINES_AND_RECORDERS, Memory, compile, f32s, to_f32s, to_u32s, u32s};

/// Runs a launch, and gives what a record of it says.
fn run_on(
    source: &str,
    (engine, lanes): (Engine, Lanes),
    bindings: &[Binding],
    grid: [u32; 3],
) -> (Outcome, Option<Vec<String>>) {
    let kernel = match compile(source, "main", &[], engine, lanes) {
        Ok(kernel) => kernel,
        Err(error) => panic!("{engine:?} {lanes:?}: {error}"),
    };
    assert_eq!(kernel.engine(), engine);
    let stop = AtomicBool::new(false);
    let launch = Launch { grid, threads: None, bindings, immediates: &[], stop: &stop };
    // SAFETY: the bindings belong to the caller, who uses them for nothing else meanwhile.
    let (outcome, recorder) = unsafe { harness::run(&kernel, lanes, &launch) };
    (outcome, recorder.map(|recorder| harness::gist(&recorder, bindings)))
}

const BUFFERS: &str = "
    enable wgpu_binding_array;
    struct Words { first: u32, rest: array<u32> }
    struct Sum { total: atomic<u32>, last: u32 }
    @group(0) @binding(0) var<storage, read> inputs: binding_array<Words, 4>;
    @group(0) @binding(1) var<storage, read_write> outputs: binding_array<Words>;
    @group(0) @binding(2) var<storage, read_write> sums: binding_array<Sum, 2>;
    @group(0) @binding(3) var<storage, read> choices: array<u32>;
    @group(0) @binding(4) var<storage, read_write> result: array<u32>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let i = id.x;
        let choice = choices[i];
        let own = inputs[choice].rest[i] + inputs[2].first + arrayLength(&inputs[choice].rest) * 100u;
        if (i % 3u != 1u) { outputs[choice % 3u].rest[i] = own; }
        outputs[2].first = 77u;
        atomicAdd(&sums[choice].total, i);
        sums[i % 4u].last = 5u;
        result[i] = own + outputs[choice % 3u].rest[i % 2u * 1000u];
    }";

#[test]
fn buffers_by_index() {
    let words = |seed: u32, count: u32| u32s((0..count).map(|i| seed * 1000 + i));
    let mut expected: Option<Vec<Vec<u8>>> = None;
    let mut recorded = None;
    for engine in ENGINES_AND_RECORDERS {
        let mut inputs: Vec<Memory> =
            [17, 5, 30].iter().zip(1..).map(|(count, seed)| Memory::new(&words(seed, *count))).collect();
        let mut outputs: Vec<Memory> = [17, 9].map(|count| Memory::new(&vec![0; 4 * count])).into();
        let mut sum = Memory::new(&[0; 8]);
        let mut choices = Memory::new(&u32s([0, 1, 2, 3, 4, 0xFFFF_FFFF, 0, 0, 2, 2, 2, 2, 1, 1, 3, 0]));
        let mut result = Memory::new(&[0; 64]);
        let [a, b, c] = [0, 1, 2].map(|i| inputs[i].binding());
        let bindings = [
            // Nothing is bound to the third element.
            Binding::Array(vec![a, b, Binding::Nothing, c]),
            Binding::Array(vec![outputs[0].binding(), Binding::Nothing, outputs[1].binding()]),
            Binding::Array(vec![Binding::Nothing, sum.binding()]),
            choices.binding(),
            result.binding(),
        ];
        let (outcome, record) = run_on(BUFFERS, engine, &bindings, [2, 1, 1]);
        assert_eq!(outcome, Outcome::Done);
        if let Some(record) = record {
            assert_eq!(*recorded.get_or_insert_with(|| record.clone()), record, "{engine:?}");
        }
        let all: Vec<Vec<u8>> =
            outputs.iter_mut().chain([&mut sum, &mut result]).map(Memory::bytes).collect();
        let got = to_u32s(&all[3]);
        // 17 words are 16 after the first; what is not bound is as small as its type, and zero.
        assert_eq!((got[0], got[2] % 100, got[8]), (1001 + 1600 + 1001 + 1600, 0, 100));
        assert_eq!(to_u32s(&all[1])[0], 77);
        match &expected {
            Some(expected) => assert_eq!(&all, expected, "{engine:?}"),
            None => expected = Some(all),
        }
    }
}

fn picture(memory: &mut Memory, side: u32) -> Binding {
    let level = LevelLayout {
        ptr: memory.ptr(),
        width: side,
        height: side,
        depth_or_layers: 1,
        row_pitch: u64::from(4 * side),
        slice_pitch: u64::from(4 * side * side),
    };
    let (format, dimension) = (TexelFormat::R32Float, TextureDimension::D2);
    Binding::Texture(TextureBinding { format, dimension, levels: vec![level] })
}

const TEXTURES: &str = "
    enable wgpu_binding_array;
    @group(0) @binding(0) var pictures: binding_array<texture_2d<f32>>;
    @group(0) @binding(1) var samplers: binding_array<sampler, 2>;
    @group(0) @binding(2) var targets: binding_array<texture_storage_2d<r32float, write>, 3>;
    @group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let i = id.x;
        let one = textureLoad(pictures[i % 5u], vec2(i % 3u, 1u), 0).x;
        let same = textureLoad(pictures[1], vec2(i % 3u, 0u), 0).x;
        let two = textureSampleLevel(pictures[i % 3u], samplers[i / 4u], vec2(f32(i) * 0.11, 0.4), 0.0).x;
        let size = textureDimensions(pictures[i % 4u]);
        textureStore(targets[i % 4u], vec2(i % 3u, i / 3u), vec4(f32(i) + 0.5));
        result[i] = vec4(one + 10.0 * same, two, f32(size.x), f32(textureNumLevels(pictures[i / 2u])));
    }";

#[test]
fn textures_and_samplers_by_index() {
    let mut expected: Option<Vec<Vec<u8>>> = None;
    let mut recorded = None;
    for engine in ENGINES_AND_RECORDERS {
        let pixels = |seed: f32, side: u32| f32s((0..side * side).map(|i| seed + i as f32 / 8.0));
        let mut pictures = [Memory::new(&pixels(1.0, 3)), Memory::new(&pixels(20.0, 4))];
        let mut targets = [Memory::new(&[0; 36]), Memory::new(&[0; 64])];
        let mut result = Memory::new(&[0; 256]);
        let linear = SamplerBinding {
            mag_filter: Filter::Linear,
            address: [AddressMode::Repeat; 3],
            ..SamplerBinding::default()
        };
        let [a, b] = &mut pictures;
        let [c, d] = &mut targets;
        let bindings = [
            Binding::Array(vec![picture(a, 3), picture(b, 4), Binding::Nothing, picture(a, 3)]),
            Binding::Array(vec![Binding::Sampler(SamplerBinding::default()), Binding::Sampler(linear)]),
            Binding::Array(vec![picture(c, 3), picture(d, 4), Binding::Nothing]),
            result.binding(),
        ];
        let (outcome, record) = run_on(TEXTURES, engine, &bindings, [2, 1, 1]);
        assert_eq!(outcome, Outcome::Done);
        if let Some(record) = record {
            assert_eq!(*recorded.get_or_insert_with(|| record.clone()), record, "{engine:?}");
        }
        let [c, d] = &mut targets;
        let all: Vec<Vec<u8>> = [&mut result, c, d].into_iter().map(Memory::bytes).collect();
        let got = to_f32s(&all[0]);
        assert_eq!(got[..4], [1.375 + 200.0, 1.375, 3.0, 1.0]);
        assert_eq!(got[8..12], [0.0 + 202.5, 0.0, 0.0, 1.0]);
        match &expected {
            Some(expected) => assert_eq!(&all, expected, "{engine:?}"),
            None => expected = Some(all),
        }
    }
}

#[test]
fn arrays_that_do_not_fit_fail() {
    for engine in ENGINES {
        let mut word = Memory::new(&[0; 16]);
        let failed = |bindings: &[Binding]| {
            let source = "enable wgpu_binding_array; struct S { a: vec2<u32> }
                @group(0) @binding(0) var<storage, read_write> list: binding_array<S, 2>;
                @compute @workgroup_size(1) fn main() { list[1].a.x = 1u; }";
            matches!(run_on(source, engine, bindings, [1, 1, 1]).0, Outcome::Failed(_))
        };
        assert!(failed(&[word.binding()]));
        assert!(failed(&[Binding::Array(vec![word.binding()])]));
        assert!(failed(&[Binding::Array(vec![word.binding(), Binding::Sampler(SamplerBinding::default())])]));
        assert!(!failed(&[Binding::Array(vec![word.binding(), Binding::Nothing])]));
        assert!(!failed(&[Binding::Array(vec![Binding::Nothing, word.binding()])]));
    }
}
