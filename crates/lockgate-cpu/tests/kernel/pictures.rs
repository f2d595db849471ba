//! Generated kernels that load, sample and store texels under control flow of every kind, on every engine.

use std::fmt::Write;
use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    AddressMode, Binding, CompareFunction, Filter, Launch, LevelLayout, Outcome, SamplerBinding,
    TextureBinding, TextureDimension, texel::TexelFormat,
};

use crate::harness::{self, ENGINES_AND_RECORDERS, Memory, Numbers, compile, to_u32s, u32s};

const KERNELS: usize = 50;
/// Of the picture that is looked at, and of those that are stored to.
const SIZE: [u32; 2] = [11, 6];
const STORED: [u32; 2] = [14, 7];
/// Invocations of a launch: more than what is stored to has texels.
const INVOCATIONS: [u32; 2] = [16, 8];

struct Generator {
    numbers: Numbers,
    text: String,
    loops: usize,
}

impl Generator {
    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.numbers.next() as usize % of.len()]
    }

    fn condition(&mut self) -> &'static str {
        self.pick(&[
            "x > 3u",
            "id.x % 3u == 1u",
            "id.y == 2u",
            "u == 5u",
            "sum.x > 0.4",
            "id.x < 13u",
            "(id.x & 4u) == 0u",
            "id.x != 8u",
            "id.x + id.y < 9u",
        ])
    }

    fn texel(&mut self) -> String {
        let x = self.pick(&[
            "i32(id.x)",
            "i32(id.x) - 2",
            "i32(x)",
            "4",
            "i32(u)",
            "clamp(i32(id.x) + 1, 0, 10)",
        ]);
        let y = self.pick(&["i32(id.y)", "2", "i32(x % 7u)", "i32(u) - 4", "i32(id.y) - 1"]);
        format!("vec2i({x}, {y})")
    }

    fn place(&mut self) -> String {
        let x = self.pick(&["(f32(id.x) + 0.5) / 16.0", "f32(x) / 7.0", "0.37", "f32(u) * 0.11", "sum.x"]);
        let y =
            self.pick(&["(f32(id.y) + 0.5) / 8.0", "f32(x) / 5.0 - 0.2", "0.61", "f32(u) * 0.17", "sum.y"]);
        format!("vec2f({x}, {y})")
    }

    /// What machine code calls Rust for.
    fn lookup(&mut self, texel: &str, place: &str) -> String {
        let layer = self.pick(&["i32(x) - 2", "1", "i32(id.y % 3u)", "i32(u)"]);
        let level = self.pick(&["0", "1", "i32(x % 3u)", "i32(u) - 4"]);
        let lod = self.pick(&["0.0", "0.6", "f32(x) * 0.3", "f32(u) * 0.2"]);
        match self.numbers.next() % 7 {
            0 => format!("textureLoad(layers, {texel}, {layer}, {level})"),
            1 => format!("textureSampleLevel(layers, smp, {place}, {layer}, {lod})"),
            2 => format!("textureSampleLevel(picture, smp, {place}, 0.0, vec2i(1, -2))"),
            3 => format!("textureGather(1, picture, smp, {place})"),
            4 => format!("vec4f(textureSampleCompareLevel(depth, cmp, {place}, fract(sum.x)))"),
            5 => format!("textureGatherCompare(depth, cmp, {place}, 0.4)"),
            _ => format!("vec4f(textureLoad(words, {texel}, 0)) / 300.0"),
        }
    }

    fn list(&mut self, depth: usize) {
        for _ in 0..1 + self.numbers.next() % 3 {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: usize) {
        let kinds = if depth == 0 { 9 } else { 13 };
        let (texel, place, condition) = (self.texel(), self.place(), self.condition());
        // A string takes everything.
        let _ = match self.numbers.next() % kinds {
            0 => writeln!(self.text, "sum += textureLoad(picture, {texel}, 0) * 0.6;"),
            1 | 2 => writeln!(self.text, "sum += textureSampleLevel(picture, smp, {place}, 0.0) * 0.4;"),
            3 => writeln!(self.text, "textureStore(bytes, id.xy, sum);"),
            4 => writeln!(self.text, "textureStore(floats, vec2u(13u - id.x, id.y), sum.yxzw);"),
            5 => writeln!(self.text, "sum = fract(sum * 1.25 + f32(textureDimensions(picture).x)).wxyz;"),
            6 => {
                let lookup = self.lookup(&texel, &place);
                writeln!(self.text, "sum += {lookup} * 0.3;")
            }
            7 => {
                let lookup = self.lookup(&texel, &place);
                writeln!(self.text, "sum = min(sum, 1.0 - {lookup});")
            }
            8 => writeln!(
                self.text,
                "sum.z += f32(textureNumLevels(layers) + textureNumLayers(layers)) * 0.01;"
            ),
            9 | 10 => {
                let _ = writeln!(self.text, "if ({condition}) {{");
                self.list(depth - 1);
                if self.numbers.next().is_multiple_of(2) {
                    let _ = writeln!(self.text, "}} else {{");
                    self.list(depth - 1);
                }
                writeln!(self.text, "}}")
            }
            11 => {
                let (end, k) = (self.pick(&["3u", "u - 2u", "x % 4u"]), self.loops);
                self.loops += 1;
                let _ = writeln!(self.text, "for (var k{k} = 0u; k{k} < {end}; k{k}++) {{");
                let leave = self.pick(&["break", "continue"]);
                if self.numbers.next().is_multiple_of(2) {
                    let _ = writeln!(self.text, "if ({condition}) {{ {leave}; }}");
                }
                self.list(depth - 1);
                writeln!(self.text, "}}")
            }
            _ => writeln!(self.text, "if ({condition}) {{ sums[i] = sum; return; }}"),
        };
    }

    fn kernel(&mut self) -> String {
        self.text.clear();
        self.list(3);
        let declared = self.pick(&["rgba32float", "r32float"]);
        format!(
            "@group(0) @binding(0) var<storage, read> xs: array<u32>;
            @group(0) @binding(1) var picture: texture_2d<f32>;
            @group(0) @binding(2) var smp: sampler;
            @group(0) @binding(3) var bytes: texture_storage_2d<rgba8unorm, write>;
            @group(0) @binding(4) var floats: texture_storage_2d<{declared}, write>;
            @group(0) @binding(5) var<storage, read_write> sums: array<vec4f>;
            @group(0) @binding(6) var<uniform> u: u32;
            @group(0) @binding(7) var layers: texture_2d_array<f32>;
            @group(0) @binding(8) var depth: texture_depth_2d;
            @group(0) @binding(9) var cmp: sampler_comparison;
            @group(0) @binding(10) var words: texture_2d<u32>;
            @compute @workgroup_size(8, 2) fn main(@builtin(global_invocation_id) id: vec3u) {{
            let i = id.y * 16u + id.x;
            let x = xs[i];
            let sizes = textureDimensions(bytes) + textureDimensions(floats);
            let others = textureDimensions(layers) + textureDimensions(depth) + textureDimensions(words);
            let both = vec4f(textureSampleCompareLevel(depth, cmp, vec2f(0.4), 0.5));
            var sum = textureSampleLevel(picture, smp, vec2f(0.4), 0.0) * f32(sizes.x + others.x + u) * 0.01 + both;
            {}
            sums[i] = sum;
            }}",
            self.text
        )
    }
}

fn view(memory: &mut Memory, format: TexelFormat, [width, height]: [u32; 2]) -> Binding {
    let row_pitch = u64::from(width * format.bytes());
    let slice_pitch = row_pitch * u64::from(height);
    let level = LevelLayout { ptr: memory.ptr(), width, height, depth_or_layers: 1, row_pitch, slice_pitch };
    Binding::Texture(TextureBinding { format, dimension: TextureDimension::D2, levels: vec![level] })
}

/// Three layers with two levels, of four by four texels and of two by two.
fn layers_of(memory: &mut Memory) -> Binding {
    let levels = [(4, 0), (2, 4 * 4 * 4 * 3)].map(|(side, start): (u32, usize)| LevelLayout {
        ptr: memory.ptr().wrapping_add(start),
        width: side,
        height: side,
        depth_or_layers: 3,
        row_pitch: u64::from(4 * side),
        slice_pitch: u64::from(4 * side * side),
    });
    let (format, dimension) = (TexelFormat::Rgba8Unorm, TextureDimension::D2Array);
    Binding::Texture(TextureBinding { format, dimension, levels: levels.into() })
}

/// What a kernel leaves behind on each engine, and what a record says of it.
fn results(source: &str, texels: &[u32], xs: &[u32], filter: Filter) -> Vec<(Vec<u32>, Option<Vec<String>>)> {
    let linear = SamplerBinding {
        mag_filter: filter,
        min_filter: filter,
        address: [AddressMode::ClampToEdge; 3],
        ..SamplerBinding::default()
    };
    let format =
        if source.contains("rgba32float") { TexelFormat::Rgba32Float } else { TexelFormat::R32Float };
    let of_engine = |(engine, lanes)| {
        let kernel = compile(source, "main", &[], engine, lanes);
        let kernel = kernel.unwrap_or_else(|error| panic!("{engine:?} {lanes:?}: {error}: {source}"));
        let stored = (STORED[0] * STORED[1]) as usize;
        let mut memories = [
            Memory::new(&u32s(xs.iter().copied())),
            Memory::new(&u32s(texels.iter().copied())),
            Memory::new(&vec![1; 4 * stored]),
            Memory::new(&vec![1; format.bytes() as usize * stored]),
            Memory::new(&vec![0; 16 * xs.len()]),
            Memory::new(&u32s([5, 0, 0, 0])),
            Memory::new(&u32s(texels.iter().copied())),
            Memory::new(&u32s(texels.iter().map(|texel| ((texel % 256) as f32 / 255.0).to_bits()))),
            Memory::new(&u32s(texels.iter().copied())),
        ];
        let [words, picture, bytes, floats, sums, five, layers, depth, integers] = &mut memories;
        let bindings = [
            words.binding(),
            view(picture, TexelFormat::Rgba8Unorm, SIZE),
            Binding::Sampler(linear),
            view(bytes, TexelFormat::Rgba8Unorm, STORED),
            view(floats, format, STORED),
            sums.binding(),
            five.binding(),
            layers_of(layers),
            view(depth, TexelFormat::Depth32Float, SIZE),
            Binding::Sampler(SamplerBinding { compare: Some(CompareFunction::Less), ..linear }),
            view(integers, TexelFormat::Rgba8Uint, SIZE),
        ];
        let (grid, stop) = ([INVOCATIONS[0] / 8, INVOCATIONS[1] / 2, 1], AtomicBool::new(false));
        let launch = Launch { grid, threads: None, bindings: &bindings, immediates: &[], stop: &stop };
        // SAFETY: the memories outlive the call, and nothing else uses them.
        let (outcome, recorder) = unsafe { harness::run(&kernel, lanes, &launch) };
        assert_eq!(outcome, Outcome::Done, "{engine:?} {lanes:?}: {source}");
        let nan = |word: u32| if f32::from_bits(word).is_nan() { f32::NAN.to_bits() } else { word };
        let record = recorder.map(|recorder| harness::gist(&recorder, &bindings));
        (memories[2..5].iter_mut().flat_map(|memory| to_u32s(&memory.bytes())).map(nan).collect(), record)
    };
    ENGINES_AND_RECORDERS.map(of_engine).into()
}

#[test]
fn engines_agree_on_generated_kernels_with_textures() {
    let mut generator = Generator { numbers: Numbers(61), text: String::new(), loops: 0 };
    let xs: Vec<u32> = (0..128).map(|i| if i < 16 { 3 } else { generator.numbers.next() % 8 }).collect();
    let texels: Vec<u32> = (0..SIZE[0] * SIZE[1]).map(|_| generator.numbers.next()).collect();
    for number in 0..KERNELS {
        let source = generator.kernel();
        let filter = if number % 4 == 3 { Filter::Nearest } else { Filter::Linear };
        let results = results(&source, &texels, &xs, filter);
        let record = results.iter().find_map(|(_, record)| record.clone());
        for ((got, own), engine) in results.iter().zip(ENGINES_AND_RECORDERS) {
            let differs = got.iter().zip(&results[0].0).position(|(got, expected)| got != expected);
            assert_eq!(differs, None, "{engine:?} {filter:?}: {source}");
            assert!(own.is_none() || *own == record, "{engine:?} {filter:?}: {source}");
        }
    }
}
