//! Buffers between pages that cannot be touched: kernels with wild indices on every engine, and memory of code that is
//! never writable and executable at once; parts of a launch on several threads. A byte outside ends the process.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_cpu::kernel::{
    Binding, BufferBinding, Engine, Lanes, Launch, LevelLayout, Outcome, TextureBinding,
};
use lockgate_cpu::kernel::{TextureDimension, texel::TexelFormat};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::harness::{self, ENGINES, ENGINES_AND_RECORDERS, Numbers, compile};

const PAGE: usize = 4096;

/// Bytes between two inaccessible pages: at the start of theirs, or at the end.
pub(crate) struct Guarded {
    base: *mut u8,
    pages: usize,
    len: usize,
    at_end: bool,
}

impl Guarded {
    pub(crate) fn new(len: usize, at_end: bool) -> Self {
        let pages = len.div_ceil(PAGE) + 2;
        // SAFETY: new memory at an address that the system chooses.
        let base = unsafe {
            mmap_anonymous(std::ptr::null_mut(), pages * PAGE, ProtFlags::empty(), MapFlags::PRIVATE)
        };
        let base = base.unwrap_or_else(|error| panic!("{error}")).cast::<u8>();
        let inner = base.wrapping_add(PAGE).cast();
        // SAFETY: the pages were mapped above, and nobody uses them yet.
        let opened =
            unsafe { mprotect(inner, (pages - 2) * PAGE, MprotectFlags::READ | MprotectFlags::WRITE) };
        assert!(opened.is_ok());
        Self { base, pages, len, at_end }
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        let inner = self.base.wrapping_add(PAGE);
        if self.at_end { inner.wrapping_add((self.pages - 2) * PAGE - self.len) } else { inner }
    }

    /// Writes a word before a kernel runs.
    pub(crate) fn write(&self, word: usize, value: u32) {
        assert!(4 * word + 4 <= self.len);
        let target = self.ptr().wrapping_add(4 * word).cast::<u32>();
        // SAFETY: inside the pages that can be written, as was just tested; nobody else uses them yet.
        unsafe { target.write_unaligned(value) };
    }

    /// A word behind all kernels.
    pub(crate) fn read(&self, word: usize) -> u32 {
        assert!(4 * word + 4 <= self.len);
        let source = self.ptr().wrapping_add(4 * word).cast::<u32>();
        // SAFETY: inside the pages that can be read, as was just tested; nobody else uses them any more.
        unsafe { source.read_unaligned() }
    }

    pub(crate) fn binding(&self) -> Binding {
        Binding::Buffer(BufferBinding { ptr: self.ptr(), len: self.len as u64 })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no kernel runs any more.
        let _ = unsafe { munmap(self.base.cast(), self.pages * PAGE) };
    }
}

const BUFFERS: &str = "
    enable f16;
    enable wgpu_binding_array;
    struct Item { a: vec3<f32>, b: array<u32, 3>, c: f16 }
    struct Words { first: u32, rest: array<u32> }
    @group(0) @binding(0) var<storage, read> wild: array<u32>;
    @group(0) @binding(1) var<storage, read_write> words: array<u32>;
    @group(0) @binding(2) var<storage, read_write> vectors: array<vec4<f32>>;
    @group(0) @binding(3) var<storage, read_write> items: array<Item>;
    @group(0) @binding(4) var<storage, read_write> halves: array<f16>;
    @group(0) @binding(5) var<storage, read_write> longs: array<atomic<u64>>;
    @group(0) @binding(6) var<storage, read_write> bytes: array<atomic<u32>>;
    @group(0) @binding(7) var<uniform> fixed: array<vec4<u32>, 3>;
    @group(0) @binding(8) var<storage, read_write> lists: binding_array<Words, 3>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let i = id.x;
        let w = wild[i] + wild[i + 1u] + wild[i * 77u];
        let near = i + 3u;
        words[w] = wild[w]; words[near] += w; words[near - 6u] = words[w - 1u];
        vectors[w] = vectors[near] + vectors[i32(w)]; vectors[near] = vec4(f32(w)); vectors[i][w] = 1.0;
        items[w] = items[near]; items[near].b[w] = 7u; items[i].c = f16(i); items[near].a.z = items[w].a.x;
        halves[w] = halves[near]; halves[near] = f16(w); halves[i] += halves[i + 1u];
        atomicAdd(&longs[w], 5lu); atomicMax(&longs[near], 9lu);
        atomicAdd(&bytes[w], fixed[w].y); atomicXor(&bytes[near], fixed[i % 4u][w % 5u]);
        lists[w].rest[w] = lists[near].first; lists[i % 4u].rest[near] = 1u; lists[w].first = lists[i].rest[i];
    }";

#[test]
fn wild_indices_stay_inside() {
    for at_end in [false, true] {
        for (engine, lanes) in ENGINES {
            let Ok(kernel) = compile(BUFFERS, "main", &[], engine, lanes) else {
                panic!("{engine:?} {lanes:?}")
            };
            // Sizes that are no multiples of registers; those that end at a page's end have no slack at all.
            let sizes = [4 * 19, 4 * 7, 16 * 5, 48 * 3, 2 * 10, 8 * 5, 4 * 3, 48, 4 * 5, 4 * 2];
            let memories: Vec<Guarded> = sizes.iter().map(|size| Guarded::new(*size, at_end)).collect();
            let mut numbers = Numbers(99);
            for word in 0..19 {
                let value = if word % 2 == 0 { numbers.next() } else { numbers.next() % 9 };
                memories[0].write(word, value);
            }
            let mut bindings: Vec<Binding> = memories[..8].iter().map(Guarded::binding).collect();
            let lists = vec![memories[8].binding(), Binding::Nothing, memories[9].binding()];
            bindings.push(Binding::Array(lists));
            let stop = AtomicBool::new(false);
            for threads in [None, Some([29, 1, 1])] {
                let launch =
                    Launch { grid: [4, 1, 1], threads, bindings: &bindings, immediates: &[], stop: &stop };
                // SAFETY: the memories outlive the call, and nothing else uses them.
                let outcome = unsafe { kernel.run(&launch, 0..4) };
                assert_eq!(outcome, Outcome::Done, "{engine:?} {lanes:?}");
            }
        }
    }
}

const TEXTURES: &str = "
    @group(0) @binding(0) var<storage, read> wild: array<u32>;
    @group(0) @binding(1) var from_image: texture_2d<f32>;
    @group(0) @binding(2) var to_image: texture_storage_2d<FORMAT, write>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let w = wild[id.x];
        var texel = textureLoad(from_image, vec2(w, id.x % 5u), w % 3u) + textureLoad(from_image, vec2<i32>(i32(id.x) - 3, i32(w)), 0);
        texel += textureLoad(from_image, vec2(id.x % 8u, id.x % 4u), 0);
        textureStore(to_image, vec2(id.x % 6u, id.x / 6u), texel);
        textureStore(to_image, vec2(w, id.x), texel);
        textureStore(to_image, vec2<i32>(i32(id.x) - 4, -1), texel);
        // Only some lanes look, and the others' coordinates are wild.
        if (w < 7u) { textureStore(to_image, vec2(w, 2u), textureLoad(from_image, vec2(w, 1u), 0)); }
    }";

#[test]
fn wild_texels_stay_inside() {
    for (name, format) in [
        ("rgba8unorm", TexelFormat::Rgba8Unorm),
        ("rgba32float", TexelFormat::Rgba32Float),
        ("r32float", TexelFormat::R32Float),
        ("rgba16float", TexelFormat::Rgba16Float),
        ("r8unorm", TexelFormat::R8Unorm),
    ] {
        let source = TEXTURES.replace("FORMAT", name);
        for (at_end, (engine, lanes)) in
            [false, true].into_iter().flat_map(|end| ENGINES_AND_RECORDERS.map(|engine| (end, engine)))
        {
            let Ok(kernel) = compile(&source, "main", &[], engine, lanes) else { panic!("{engine:?}") };
            let size = 7 * 3 * format.bytes() as usize;
            let memories =
                [Guarded::new(4 * 32, at_end), Guarded::new(size, at_end), Guarded::new(size, at_end)];
            let mut numbers = Numbers(7);
            for word in 0..32 {
                let value = if word % 3 == 0 { numbers.next() } else { numbers.next() % 8 };
                memories[0].write(word, value);
            }
            let picture = |memory: &Guarded| {
                let (width, height, row_pitch) = (7, 3, u64::from(7 * format.bytes()));
                let ptr = memory.ptr();
                let level = LevelLayout {
                    ptr,
                    width,
                    height,
                    depth_or_layers: 1,
                    row_pitch,
                    slice_pitch: size as u64,
                };
                Binding::Texture(TextureBinding {
                    format,
                    dimension: TextureDimension::D2,
                    levels: vec![level],
                })
            };
            let bindings = [memories[0].binding(), picture(&memories[1]), picture(&memories[2])];
            let stop = AtomicBool::new(false);
            let launch =
                Launch { grid: [4, 1, 1], threads: None, bindings: &bindings, immediates: &[], stop: &stop };
            // SAFETY: the memories outlive the call, and nothing else uses them.
            let (outcome, _) = unsafe { harness::run(&kernel, lanes, &launch) };
            assert_eq!(outcome, Outcome::Done);
        }
    }
}

#[test]
fn code_is_never_writable_and_executable() {
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        scope.spawn(|| {
            for workgroup in 1..40 {
                let source = format!(
                    "@group(0) @binding(0) var<storage, read_write> data: array<u32, 8>;
                    @compute @workgroup_size({workgroup}) fn main() {{ data[0] += 1u; }}"
                );
                let kernel = compile(&source, "main", &[], Engine::Jit, Lanes::Four);
                assert!(kernel.is_ok());
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut looks = 0;
        while looks == 0 || !done.load(Ordering::Relaxed) {
            let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { break };
            let bad =
                maps.lines().find(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rwx")));
            assert_eq!(bad, None);
            looks += 1;
        }
        looks
    });
    assert!(looks > 0);
}

#[test]
fn ranges_of_workgroups_run_apart() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> data: array<u32, 24>;
        @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) { data[id.x] += id.x; }";
    let Ok(kernel) = compile(source, "main", &[], Engine::Auto, Lanes::Four) else { panic!("refused") };
    let mut memory = harness::Memory::new(&[0; 96]);
    let bindings: Vec<Binding> = vec![memory.binding()];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for part in [0..2, 2..3, 3..6] {
            let (kernel, bindings, stop) = (&kernel, &bindings, &stop);
            scope.spawn(move || {
                let launch = Launch { grid: [6, 1, 1], threads: None, bindings, immediates: &[], stop };
                // SAFETY: the memory outlives the scope, and each part writes its own elements.
                assert_eq!(unsafe { kernel.run(&launch, part) }, Outcome::Done);
            });
        }
    });
    assert_eq!(harness::to_u32s(&memory.bytes()), (0..24).collect::<Vec<_>>());
}

#[test]
fn a_load_beyond_the_end_stays_behind_its_test_in_a_loop() {
    let source = "
        @group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> sums: array<f32>;
        @group(0) @binding(2) var<uniform> count: u32;
        @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let at = u32(i32(id.x) - 7);
            var sum = 0.0;
            for (var k = 0u; k < count; k++) { sum = sum * 0.5 + rows[at].x; if (sum > 1e9) { break; } }
            sums[id.x] = sum;
        }";
    let rows = harness::f32s((0..64).map(|i| i as f32));
    let case = harness::Case::new(source, [2, 1, 1], vec![rows, vec![0; 128], harness::u32s([5, 0, 0, 0])]);
    case.run();
}
