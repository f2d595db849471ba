//! Kernels: every device leaves behind the bytes that the interpreter of the CPU device does.

use crate::subjects::{Subject, run_pass, subjects};
use lockgate_cpu::kernel::Engine;
use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;

/// A kernel, its grid, and what it is given; `data` is the buffer that is compared.
struct Kernel {
    name: &'static str,
    source: &'static str,
    threads: [u32; 3],
    words: usize,
    immediates: &'static [u32],
    /// Devices, by the beginning of their names, that may leave other bytes, and why.
    differs: &'static [(&'static str, &'static str)],
    /// Devices, by the beginning of their names, that cannot run it, and what they say.
    unsupported: &'static [(&'static str, &'static str)],
}

const PLAIN: Kernel = Kernel {
    name: "",
    source: "",
    threads: [1, 1, 1],
    words: 256,
    immediates: &[],
    differs: &[],
    unsupported: &[],
};

/// Kernels whose grids cut workgroups, in all the ways in which devices deal with that.
const CUT: &[Kernel] = &[
    Kernel {
        name: "without barriers",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { data[id.x] += id.x + 1u; }",
        threads: [100, 1, 1],
        ..PLAIN
    },
    Kernel {
        name: "without barriers, asks for nothing",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<atomic<u32>>;
            @compute @workgroup_size(8, 4) fn main() { atomicAdd(&data[0], 1u); }",
        threads: [13, 7, 3],
        ..PLAIN
    },
    Kernel {
        name: "with barriers and everything that it can ask for",
        source: "struct In { @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32 }
            @group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<workgroup> sums: array<u32, 32>;
            @compute @workgroup_size(8, 4) fn main(
                in: In, @builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_id) local: vec3u) {
                sums[in.index] = id.x + 100u * id.y;
                workgroupBarrier();
                let other = sums[in.index ^ 1u];
                data[id.y * 16u + id.x] = other + 1000u * groups.x + 10000u * groups.y + local.y + in.group.x;
            }",
        threads: [12, 6, 1],
        ..PLAIN
    },
    Kernel {
        name: "with immediates",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<immediate> factor: vec2u;
            @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u,
                @builtin(local_invocation_index) index: u32) { data[id.x] = id.x * factor.y + index; }",
        threads: [50, 1, 1],
        immediates: &[3, 7],
        ..PLAIN
    },
    Kernel {
        name: "with immediates and the number of workgroups",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<immediate> factor: u32;
            @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u,
                @builtin(num_workgroups) groups: vec3u) { data[id.x] = id.x * factor + groups.x; }",
        threads: [50, 1, 1],
        immediates: &[3],
        unsupported: &[("vulkan", "immediates and asks for num_workgroups")],
        ..PLAIN
    },
    Kernel {
        name: "nothing to do",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u) { data[id.x] = 9u; }",
        threads: [50, 0, 1],
        ..PLAIN
    },
];

/// What kernels can do with buffers.
const BUFFERS: &[Kernel] = &[
    Kernel {
        name: "integers",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                let x = data[id.x]; let y = data[255u - id.x] | 1u;
                let s = bitcast<i32>(x); let t = bitcast<i32>(y);
                var v = x / y + (x % y) * 3u + countOneBits(x) + reverseBits(y) + firstLeadingBit(x);
                v ^= bitcast<u32>(s / t) + bitcast<u32>(s % t) + extractBits(x, 3u, 9u) + insertBits(x, y, 5u, 7u);
                v += bitcast<u32>(s >> 3u) ^ (x << (y & 31u)) ^ bitcast<u32>(abs(s)) ^ pack4xU8(vec4u(x, y, x, y));
                v += dot4U8Packed(x, y) + bitcast<u32>(clamp(s, -5, 5)) + select(1u, 2u, s < t);
                data[id.x] = v;
            }",
        threads: [128, 1, 1],
        ..PLAIN
    },
    Kernel {
        name: "division by zero and shifts",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(1) fn main() {
                let zero = data[0] - data[0]; let least = bitcast<i32>(0x80000000u + zero); let one = bitcast<i32>(zero) - 1;
                data[0] = 7u / zero; data[1] = 7u % zero;
                data[2] = bitcast<u32>(least / one); data[3] = bitcast<u32>(least % one);
                data[4] = u32(f32(zero) - 3.0); data[6] = bitcast<u32>(i32(-1e20 + f32(zero)));
            }",
        ..PLAIN
    },
    Kernel {
        name: "exact floats",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3u) {
                let x = f32(data[id.x] & 0xffffu) - 30000.0; let y = f32(id.x) * 0.25;
                let m = mat2x2f(x, y, y, 1.0) * vec2f(2.0, 4.0);
                let v = floor(y) + ceil(x * 0.5) + trunc(y) + round(y) + abs(x) + sign(x) + max(x, y) + min(x, y) + m.x + m.y;
                data[id.x] = bitcast<u32>(v);
            }",
        threads: [64, 1, 1],
        ..PLAIN
    },
    Kernel {
        name: "workgroup memory and loops",
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<workgroup> shared_words: array<u32, 64>;
            var<workgroup> total: atomic<u32>;
            fn sum(n: u32) -> u32 { var s = 0u; for (var i = 0u; i < n; i++) { if i % 3u == 1u { continue; } s += i; } return s; }
            @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3u) {
                shared_words[index] = data[group.x * 64u + index] & 0xffu;
                workgroupBarrier();
                for (var step = 32u; step > 0u; step >>= 1u) {
                    if index < step { shared_words[index] += shared_words[index + step]; }
                    workgroupBarrier();
                }
                atomicMax(&total, sum(index));
                workgroupBarrier();
                var k = index;
                loop { if k < 2u { break; } switch k % 3u { case 0u: { k = k / 2u; } case 1u: { k -= 1u; } default: { k -= 2u; } } }
                data[group.x * 64u + index] = shared_words[0] + atomicLoad(&total) + k + workgroupUniformLoad(&shared_words[1]);
            }",
        threads: [128, 1, 1],
        ..PLAIN
    },
    Kernel {
        name: "beyond the end",
        // WGSL lets a device choose, as long as it stays in the binding.
        differs: &[("vulkan swiftshader", "without robustBufferAccess2 the last element stands for those beyond it")],
        source: "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                data[id.x * 1000003u + 256u] = 5u;
                data[id.x + 128u * (id.x & 1u)] = arrayLength(&data);
            }",
        threads: [64, 1, 1],
        ..PLAIN
    },
];

/// What a device makes of a kernel.
fn run(device: &Device, kernel: &Kernel) -> Result<Vec<u32>> {
    let library = device.new_library(kernel.source)?;
    let pipeline = device.new_compute_pipeline(&library, "main")?;
    let words: Vec<u32> = (0..kernel.words as u32).map(|word| word.wrapping_mul(0x9e37_79b9)).collect();
    let data = device.new_buffer_with_data(&words)?;
    let table = device.new_argument_table();
    table.set_buffer("data", &data);
    run_pass(device, |encoder| {
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(&table);
        encoder.set_immediates(kernel.immediates);
        encoder.dispatch_threads(kernel.threads);
    })?;
    data.read(0, kernel.words)
}

fn check(kernels: &[Kernel]) {
    let cpu = CpuDescriptor { engine: Engine::Interpreter, ..Default::default() };
    let reference = Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), DeviceDescriptor::default());
    for subject in subjects() {
        subject.run(DeviceDescriptor::default(), |device| {
            kernels.iter().for_each(|kernel| compare(&reference, &subject, device, kernel));
        });
    }
}

fn compare(reference: &Device, subject: &Subject, device: &Device, kernel: &Kernel) {
    let expected = run(reference, kernel).unwrap_or_else(|why| panic!("{}: {why}", kernel.name));
    let name = subject.to_string();
    let unsupported = kernel.unsupported.iter().find(|(device, _)| name.starts_with(device));
    let differs = kernel.differs.iter().find(|(device, _)| name.starts_with(device));
    match (run(device, kernel), unsupported) {
        (Ok(words), None) if differs.is_some() => {
            let (_, why) = differs.unwrap();
            eprintln!("not compared: {}: {why}", kernel.name);
            assert_ne!(words, expected, "{}, {name}: it does not differ", kernel.name);
        }
        (Ok(words), None) => {
            let first = words.iter().zip(&expected).position(|(own, other)| own != other);
            assert_eq!(first, None, "{}, {name}: {words:x?}\n{expected:x?}", kernel.name);
        }
        (Err(why), Some((_, says))) => {
            assert!(why.to_string().contains(says), "{}, {name}: {why}", kernel.name)
        }
        (Ok(_), Some((_, says))) => panic!("{}, {name}: it runs, though it should say `{says}`", kernel.name),
        (Err(why), None) => panic!("{}, {name}: {why}", kernel.name),
    }
}

#[test]
fn grids_that_cut_workgroups_run_just_their_threads() {
    check(CUT);
}

#[test]
fn buffers_hold_the_same_bytes() {
    check(BUFFERS);
}

#[test]
fn a_grid_that_cannot_be_cut_is_refused_when_it_is_recorded() {
    let kernel = CUT.iter().find(|kernel| !kernel.unsupported.is_empty()).unwrap();
    for subject in subjects().iter().filter(|subject| matches!(subject, Subject::Vulkan(..))) {
        subject.run(DeviceDescriptor::default(), |device| {
            let library = device.new_library(kernel.source).unwrap();
            let pipeline = device.new_compute_pipeline(&library, "main").unwrap();
            let table = device.new_argument_table();
            table.set_buffer("data", &device.new_buffer_with_data(&[1u32; 64]).unwrap());
            let allocator = device.new_command_allocator("");
            let record = |threads| {
                let mut commands = device.new_command_buffer("");
                commands.begin(&allocator);
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&pipeline);
                encoder.set_argument_table(&table);
                encoder.set_immediates(kernel.immediates);
                encoder.dispatch_threads(threads);
                drop(encoder);
                commands.end()
            };
            let error = record(kernel.threads).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            record([48, 1, 1]).unwrap();
        });
    }
}
