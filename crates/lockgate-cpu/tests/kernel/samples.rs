//! Samples of normalized bytes, which machine code takes in place: pictures of each small size between pages that cannot be
//! touched, positions everywhere, rows stored whole and in part, on every engine.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    AddressMode, Binding, Filter, Launch, LevelLayout, Outcome, SamplerBinding, TextureBinding,
    TextureDimension, texel::TexelFormat,
};

use crate::{
    guard::Guarded,
    harness::{self, ENGINES_AND_RECORDERS, Numbers, compile},
};

/// Invocations of each launch; not all of them are in the picture that they store to.
const WIDTH: u32 = 16;
const HEIGHT: u32 = 4;

const KERNEL: &str = "
    @group(0) @binding(0) var<storage, read> places: array<vec2f>;
    @group(0) @binding(1) var picture: texture_2d<f32>;
    @group(0) @binding(2) var linear: sampler;
    @group(0) @binding(3) var<storage, read_write> sampled: array<vec4f>;
    @group(0) @binding(4) var resized: texture_storage_2d<rgba8unorm, write>;
    @compute @workgroup_size(8, 2) fn main(@builtin(global_invocation_id) id: vec3u) {
        let i = id.y * 16u + id.x;
        let own = textureSampleLevel(picture, linear, places[i], 0.0);
        sampled[2u * i] = own;
        // Some take no part, and the rows of the others are the same for all.
        if (places[i].x > 0.3) {
            sampled[2u * i + 1u] = textureSampleLevel(picture, linear, vec2f(places[i].x, places[id.y].y), 0.0);
        }
        let size = textureDimensions(resized);
        if (any(id.xy >= size)) { return; }
        let at = (vec2f(id.xy) + 0.5) / vec2f(size);
        textureStore(resized, id.xy, textureSampleLevel(picture, linear, at, 0.0) * 1.1 - vec4f(0.05));
    }";

fn picture(memory: &Guarded, [width, height]: [u32; 2]) -> Binding {
    let row_pitch = u64::from(4 * width);
    let slice_pitch = row_pitch * u64::from(height);
    let level = LevelLayout { ptr: memory.ptr(), width, height, depth_or_layers: 1, row_pitch, slice_pitch };
    let (format, dimension) = (TexelFormat::Rgba8Unorm, TextureDimension::D2);
    Binding::Texture(TextureBinding { format, dimension, levels: vec![level] })
}

/// A coordinate: mostly inside or near, sometimes in the middle of a texel, sometimes no place at all.
fn coordinate(numbers: &mut Numbers, size: u32) -> f32 {
    let far = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -5e6, 7.5, -0.0, 1.0];
    match numbers.next() % 8 {
        0 => far[numbers.next() as usize % far.len()],
        1 => ((numbers.next() % (size + 2)) as f32 - 0.5) / size as f32,
        2 => (numbers.next() % (size + 1)) as f32 / size as f32,
        _ => (numbers.next() % 4096) as f32 / 3000.0 - 0.2,
    }
}

#[test]
fn samples_in_place_are_those_of_the_interpreter() {
    let mut numbers = Numbers(23);
    let filters = [Filter::Linear, Filter::Linear, Filter::Nearest];
    for (number, size) in [[1, 1], [1, 5], [2, 1], [2, 2], [3, 7], [16, 3], [33, 17]].into_iter().enumerate()
    {
        let mode = [AddressMode::ClampToEdge, AddressMode::MirrorRepeat][number % 4 / 3];
        let filter = filters[number % 3];
        let sampler = SamplerBinding {
            mag_filter: filter,
            min_filter: filter,
            address: [mode; 3],
            ..SamplerBinding::default()
        };
        let places: Vec<u32> = (0..2 * WIDTH * HEIGHT)
            .map(|i| coordinate(&mut numbers, size[i as usize % 2]).to_bits())
            .collect();
        let texels: Vec<u32> = (0..size[0] * size[1]).map(|_| numbers.next()).collect();
        let resized = [13, 3];
        let mut expected: Option<Vec<u32>> = None;
        for (at_end, (engine, lanes)) in
            [false, true].into_iter().flat_map(|end| ENGINES_AND_RECORDERS.map(|engine| (end, engine)))
        {
            let Ok(kernel) = compile(KERNEL, "main", &[], engine, lanes) else { panic!("{engine:?}") };
            let words = 8 * WIDTH * HEIGHT;
            let memories =
                [places.len(), texels.len(), words as usize, 39].map(|n| Guarded::new(4 * n, at_end));
            for (memory, words) in memories.iter().zip([&places, &texels]) {
                words.iter().enumerate().for_each(|(at, word)| memory.write(at, *word));
            }
            let bindings = [
                memories[0].binding(),
                picture(&memories[1], size),
                Binding::Sampler(sampler),
                memories[2].binding(),
                picture(&memories[3], resized),
            ];
            let (grid, stop) = ([WIDTH / 8, HEIGHT / 2, 1], AtomicBool::new(false));
            let launch = Launch { grid, threads: None, bindings: &bindings, immediates: &[], stop: &stop };
            // SAFETY: the memories outlive the call, and nothing else uses them.
            let (outcome, _) = unsafe { harness::run(&kernel, lanes, &launch) };
            assert_eq!(outcome, Outcome::Done);
            let nan = |word: u32| if f32::from_bits(word).is_nan() { f32::NAN.to_bits() } else { word };
            let sampled = (0..words as usize).map(|at| nan(memories[2].read(at)));
            let got: Vec<u32> = sampled.chain((0..39).map(|at| memories[3].read(at))).collect();
            let expected = expected.get_or_insert_with(|| got.clone());
            let differs = got.iter().zip(&*expected).position(|(got, expected)| got != expected);
            let both = differs.map(|at| (at, f32::from_bits(got[at]), f32::from_bits(expected[at])));
            assert_eq!(both, None, "{engine:?} {lanes:?} {size:?} {sampler:?}");
        }
        assert!(expected.is_some_and(|words| words.iter().any(|word| *word != 0)));
    }
}
