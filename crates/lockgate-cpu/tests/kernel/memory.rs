//! Layouts, runtime-sized arrays, atomics, and accesses out of range, on every engine.

use crate::harness::{Case, to_u32s, u32s};

#[test]
fn structures_matrices_and_padding() {
    let source = "
        struct Inner { a: f32, b: vec3<f32>, c: mat3x3<f32> }
        struct Outer { head: u32, items: array<Inner, 3>, m: mat4x2<f32>, tail: vec2<f32> }
        @group(0) @binding(0) var<storage, read> from_buffer: Outer;
        @group(0) @binding(1) var<storage, read_write> to_buffer: Outer;
        @group(0) @binding(2) var<storage, read_write> copies: array<Inner>;
        @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x % 3u;
            if (id.x < 3u) {
                to_buffer.items[i] = from_buffer.items[2u - i];
                to_buffer.items[i].c[1].y = f32(id.x);
                copies[id.x] = from_buffer.items[i];
            } else {
                to_buffer.m = from_buffer.m;
                to_buffer.tail = from_buffer.m * vec4(1.0, 2.0, 3.0, 4.0);
                to_buffer.head = arrayLength(&copies);
            }
        }";
    let words = |n: u32| u32s((0..n).map(|i| (i as f32).to_bits()));
    // 16 for the head, three times 80, 32 for the matrix, 8 for the tail, up to a multiple of 16.
    let got = Case::new(source, [1, 1, 1], vec![words(76), vec![0xCC; 304], vec![0xCC; 330]]).run();
    let out = to_u32s(&got[1]);
    assert_eq!(out[0], 4);
    assert_eq!(out[4], 44f32.to_bits());
    assert_eq!(out[5], 0xCCCC_CCCC, "padding was written");
    assert_eq!(to_u32s(&got[2])[4], 8f32.to_bits());
}

#[test]
fn reads_out_of_range_give_the_last_element_and_writes_do_nothing() {
    let source = "
        struct Tail { n: u32, items: array<vec2<u32>> }
        @group(0) @binding(0) var<storage, read> data: array<u32>;
        @group(0) @binding(1) var<storage, read_write> tail: Tail;
        @group(0) @binding(2) var<storage, read_write> out: array<u32>;
        @group(0) @binding(3) var<storage, read_write> few: array<u32, 3>;
        var<workgroup> w: array<u32, 4>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            out[i] = data[i] + data[i * 1000u] + data[0u - i] + data[i - 100u];
            out[i + 20u] = 1u;
            out[4294967295u - i] = 2u;
            tail.items[i] = vec2(i, i);
            tail.items[i * 77u].y = 5u;
            few[i] = i;
            few[i32(i) - 4] += 10u;
            w[i] = i;
            workgroupBarrier();
            out[i] += w[i + 3u] * 1000u + tail.items[i + 9u].x;
            var local = array<u32, 3>(1u, 2u, 3u);
            local[i] = 50u;
            out[i] += local[i] * 100000u;
        }";
    let buffers = vec![u32s(0..5), vec![0; 36], vec![0; 44 * 4], u32s([0; 3])];
    // `few[0]` is written by the first and the fifth invocation.
    let got = Case { races: true, ..Case::new(source, [2, 1, 1], buffers) }.run();
    let out = to_u32s(&got[2]);
    assert_eq!(out[0], 4 + 3 * 1000 + 2 + 50 * 100_000);
    assert_eq!(out[15], 4 + 4 + 4 + 4 + 2 + 3 * 100_000);
    assert_eq!(to_u32s(&got[3])[..2], [10, 11]);
}

#[test]
fn atomic_operations() {
    let source = "
        @group(0) @binding(0) var<storage, read> data: array<u32>;
        @group(0) @binding(1) var<storage, read_write> u: array<atomic<u32>, 10>;
        @group(0) @binding(2) var<storage, read_write> s: array<atomic<i32>, 4>;
        var<workgroup> w: array<atomic<i32>, 4>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let x = data[id.x];
            atomicAdd(&u[0], x);
            atomicSub(&u[1], x);
            atomicAnd(&u[2], ~(1u << (x % 32u)));
            atomicOr(&u[3], 1u << (x % 32u));
            atomicXor(&u[4], x);
            atomicMin(&u[5], x);
            atomicMax(&u[6], x);
            if (x % 3u == 0u) { atomicAdd(&u[7], 1u); }
            atomicAdd(&u[8u + x], 100u);
            atomicMin(&s[0], bitcast<i32>(x));
            atomicMax(&s[1], bitcast<i32>(x));
            atomicMax(&w[0], i32(x % 100u));
            loop {
                let old = atomicLoad(&s[2]);
                let result = atomicCompareExchangeWeak(&s[2], old, old + 3);
                if (result.exchanged && result.old_value == old) { break; }
            }
            workgroupBarrier();
            if (id.x % 8u == 2u) { atomicAdd(&s[3], atomicExchange(&w[0], 7) + atomicLoad(&w[0])); atomicStore(&u[9], 4u); }
        }";
    let mut numbers = crate::harness::Numbers(43);
    let data: Vec<u32> = (0..24).map(|_| numbers.next()).collect();
    let start = [0, 0, u32::MAX, 0, 0, u32::MAX, 0, 0, 0, 0];
    let got = Case::new(source, [3, 1, 1], vec![u32s(data.clone()), u32s(start), u32s([0; 4])]).run();
    let (u, s) = (to_u32s(&got[1]), to_u32s(&got[2]));
    assert_eq!(u[0], data.iter().fold(0u32, |a, b| a.wrapping_add(*b)));
    assert_eq!(u[5], *data.iter().min().unwrap_or(&0));
    assert_eq!(u[7], data.iter().filter(|x| **x % 3 == 0).count() as u32);
    assert_eq!((u[8], u[9]), (0, 4));
    assert_eq!(s[1] as i32, data.iter().map(|x| *x as i32).max().unwrap_or(0).max(0));
    assert_eq!(s[2], 72);
}

#[test]
fn workgroup_memory_starts_as_zero_in_each_workgroup() {
    let source = "
        struct S { a: u32, b: array<vec2<f32>, 3> }
        var<workgroup> w: S;
        var<private> p: array<u32, 4>;
        @group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            out[id.x] = w.a + u32(w.b[id.x % 3u].y) + p[id.x % 4u];
            p[id.x % 4u] = 3u;
            workgroupBarrier();
            w.a = 9u;
            w.b[id.x % 3u].y = 5.0;
        }";
    let got = Case::new(source, [3, 1, 1], vec![vec![0xFF; 48]]).run();
    assert_eq!(to_u32s(&got[0]), [0; 12]);
}
