//! Each form of statement, with invocations that part in every way, on every engine.

use crate::harness::{Case, Numbers, to_u32s, u32s};

/// Runs a body that computes `r` from `x` (a random word, mostly small), `i` (the invocation) and `u` (the same for all).
fn check(body: &str, functions: &str) -> Vec<u32> {
    let source = format!(
        "struct Params {{ u: u32, v: u32 }}
        @group(0) @binding(0) var<storage, read> xs: array<u32>;
        @group(0) @binding(1) var<storage, read_write> rs: array<u32>;
        @group(0) @binding(2) var<uniform> params: Params;
        {functions}
        @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let i = id.x;
            let x = xs[i];
            let u = params.u;
            var r = 1u;
            {body}
            rs[i] = r;
        }}"
    );
    let mut numbers = Numbers(41);
    let xs: Vec<u32> = (0..64).map(|i| if i < 16 { 3 } else { numbers.next() % 8 }).collect();
    let case = Case::new(&source, [4, 1, 1], vec![u32s(xs), vec![0; 256], u32s([5, 2])]);
    to_u32s(&case.run()[1])
}

#[test]
fn branches() {
    let got = check("if (x > 3u) { r = x * 2u; } else if (x == 1u) { r += 7u; } else { r = i; }", "");
    assert_eq!(got[..4], [0, 1, 2, 3]);
    check("if (x > 3u) { if (i % 2u == 0u) { r = 5u; } r += x; }", "");
    check("if (u > 3u) { if (x % 2u == 0u) { r = 5u; } } else { r = 9u; }", "");
    check("if (x > 3u) { rs[i] = 3u; if (i % 2u == 0u) { return; } rs[i] = 4u; } r = rs[i] + 1u;", "");
    check("if (x > 3u) { if (u == 5u) { return; } } r = 2u;", "");
}

#[test]
fn switches() {
    check(
        "switch x { case 0u: { r = 10u; } case 1u, 2u: { r = 20u; if (i > 20u) { break; } r += 1u; } default: { r = x; } }",
        "",
    );
    check("switch i32(x) { case 3, default: { r = 10u; } case 1: { r = 11u; } }", "");
    check("switch u { case 5u: { r = x; } default: { r = 0u; } }", "");
    check(
        "for (var k = 0u; k < x; k++) { switch k { case 1u: { continue; } case 4u: { break; } default: { r += 2u; } } r += 1u; }",
        "",
    );
    check("switch x { case 1u: { return; } case 2u: { r = 4u; } default: {} } r += 3u;", "");
}

#[test]
fn loops() {
    let got = check("for (var k = 0u; k < x; k++) { r += k; }", "");
    assert_eq!(got[0], 4);
    check("for (var k = 0u; k < u; k++) { if (k == x) { break; } r = r * 3u + k; }", "");
    check("for (var k = 0u; k < u; k++) { if (k == x) { continue; } r = r * 3u + k; }", "");
    check("var k = 0u; loop { if (k > x) { break; } continuing { k += 1u; r += k; break if k == 4u; } }", "");
    check("var k = x; while (k != 0u) { k = k & (k - 1u); r++; }", "");
    check(
        "for (var k = 0u; k < u; k++) { for (var j = 0u; j < x; j++) { if (j == k) { continue; } if (r > 40u) { break; } r += j; } r += 1u; }",
        "",
    );
    check(
        "for (var k = 0u; k < u; k++) { for (var j = 0u; j < 4u; j++) { if (j + k == x) { rs[i] = 77u; return; } r += j; } }",
        "",
    );
    check("loop { r += 1u; if (r > x) { break; } if (r == 3u) { r = 9u; continue; } }", "");
    check(
        "var last = 0u; for (var k = 0u; k < 6u; k++) { last = k; if (k * x > 8u) { break; } } r = last;",
        "",
    );
    check("for (var k = 0u; k < x; k++) { let t = k * 2u; if (t == 4u) { r += 100u; } r += t; }", "");
    check("var k = 0u; loop { let t = k + x; r += t; continuing { k = k + t + 1u; break if k > 20u; } }", "");
}

#[test]
fn functions_and_pointers() {
    let functions = "
        fn early(a: u32) -> u32 { if (a > 3u) { return 9u; } for (var k = 0u; k < a; k++) { if (k == 2u) { return k + 50u; } } return a; }
        fn add(p: ptr<function, u32>, a: u32) { *p = *p + a; }
        fn swap(p: ptr<function, vec2<u32>>) { *p = (*p).yx; }
        fn fill(p: ptr<function, array<u32, 4>>, at: u32) { (*p)[at] = 7u; }
        var<private> calls: u32 = 3u;
        fn count() -> u32 { calls += 1u; return calls; }";
    check("r = early(x) + early(u);", functions);
    check("add(&r, x); if (x > 2u) { add(&r, i); }", functions);
    check("var v = vec2(x, i); if (x > 2u) { swap(&v); } r = v.x * 100u + v.y;", functions);
    check("var a = array<u32, 4>(); fill(&a, x % 4u); fill(&a, u % 4u); r = a[i % 4u] + a[1];", functions);
    check("if (x > 2u) { r = count(); } r += count();", functions);
    check("for (var k = 0u; k < x; k++) { r += early(k); if (early(r) == 9u) { break; } }", functions);
}

#[test]
fn local_arrays_and_dynamic_components() {
    check(
        "var a: array<u32, 8>; for (var k = 0u; k < 8u; k++) { a[k] = k * x; } r = a[x % 8u] + a[u] + a[i];",
        "",
    );
    check(
        "var a: array<vec3<u32>, 4>; a[x % 4u] = vec3(i, x, u); if (x > 3u) { a[x % 4u].y = 99u; } r = a[i % 4u].y + a[x % 4u].x;",
        "",
    );
    check("var v = vec4(x, i, u, 1u); v[x % 4u] = 9u; r = v[i % 4u] + v.x;", "");
    check("let v = vec4(x, i, u, 1u); r = v[i % 4u];", "");
    check("const t = array<u32, 5>(3u, 1u, 4u, 1u, 5u); r = t[x % 5u] + t[u];", "");
    check(
        "var m = mat3x2<f32>(); m[x % 3u] = vec2(f32(x), f32(i)); m[1][x % 2u] += 0.5; r = u32(m[x % 3u].y + m[1].x * 4.0);",
        "",
    );
    check("let a = array<u32, 3>(x, i, u); r = a[x % 3u];", "");
    check("var b = x > 2u; if (i % 3u == 0u) { b = !b; } r = select(4u, 8u, b && u == 5u);", "");
}

#[test]
fn barriers_in_uniform_control_flow() {
    let functions = "var<workgroup> shared_value: array<u32, 16>; var<workgroup> total: u32; var<workgroup> votes: atomic<u32>;";
    let l = "let l = i % 16u;";
    check(&format!("{l} shared_value[l] = x; workgroupBarrier(); r = shared_value[15u - l];"), functions);
    check(
        &format!(
            "{l} for (var k = 0u; k < u; k++) {{ shared_value[l] = r + x; workgroupBarrier(); r = shared_value[(l + 1u) % 16u] + k; workgroupBarrier(); }}"
        ),
        functions,
    );
    check(
        &format!("{l} if (u > 2u) {{ shared_value[l] = x; workgroupBarrier(); r += shared_value[l ^ 1u]; }}"),
        functions,
    );
    check(
        &format!(
            "{l} if (l == 3u) {{ total = x + 40u; }} let t = workgroupUniformLoad(&total); for (var k = 0u; k < t % 7u; k++) {{ workgroupBarrier(); r += k; }}"
        ),
        functions,
    );
    check(
        &format!(
            "{l} var n = 2u; if (u == 5u) {{ n = 3u; }} var k = 0u; loop {{ shared_value[l] = r; workgroupBarrier(); r = shared_value[(l + k) % 16u] * 3u; workgroupBarrier(); k++; if (k >= n) {{ break; }} }}"
        ),
        functions,
    );
    check(
        &format!(
            "{l} shared_value[l] = x; workgroupBarrier(); if (x > 3u) {{ return; }} r = shared_value[(l + 5u) % 16u];"
        ),
        functions,
    );
    check(
        &format!(
            "{l} var held = x * 3u; var a = array<u32, 4>(x, i, u, 2u); shared_value[l] = held; workgroupBarrier(); held += shared_value[l ^ 2u]; workgroupBarrier(); r = held + a[x % 4u];"
        ),
        functions,
    );
    check("if (x > 2u) { atomicAdd(&votes, x); } workgroupBarrier(); r = atomicLoad(&votes);", functions);
}

#[test]
fn overrides_and_immediates() {
    let source = "
        override SIZE: u32 = 4u;
        @id(7) override SCALE: f32;
        struct Push { add: u32, pad: u32, v: vec2<u32> }
        var<immediate> push: Push;
        var<workgroup> scratch: array<u32, SIZE>;
        @group(0) @binding(0) var<storage, read_write> data: array<u32>;
        @compute @workgroup_size(SIZE) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) l: u32) {
            scratch[l] = u32(f32(id.x) * SCALE) + push.add + push.v.y;
            workgroupBarrier();
            data[id.x] = scratch[SIZE - 1u - l];
        }";
    let mut case = Case::new(source, [2, 1, 1], vec![vec![0; 64]]);
    case.constants = vec![("SIZE".into(), 8.0), ("7".into(), 2.5)];
    case.immediates = u32s([100, 0, 0, 1000]);
    let got = to_u32s(&case.run()[0]);
    assert_eq!(got[0], 1117);
    assert_eq!(got[7], 1100);
}

#[test]
fn built_in_values_and_partial_workgroups() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> data: array<vec4<u32>>;
        @compute @workgroup_size(4, 3, 2) fn main(
            @builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32>,
            @builtin(local_invocation_index) index: u32, @builtin(workgroup_id) w: vec3<u32>,
            @builtin(num_workgroups) n: vec3<u32>,
        ) {
            let at = g.x + 8u * (g.y + 6u * g.z);
            data[at] = vec4(index, l.x + 10u * l.y + 100u * l.z, w.x + 10u * w.y + 100u * w.z, n.x + 10u * n.y + 100u * n.z);
        }";
    let mut case = Case::new(source, [2, 2, 2], vec![vec![0xEE; 8 * 6 * 4 * 16]]);
    let whole = to_u32s(&case.run()[0]);
    assert_eq!(whole[4 * (5 + 8 * (4 + 6 * 3))..][..4], [1 + 4 * (1 + 3), 111, 111, 222]);
    case.threads = Some([7, 4, 3]);
    let part = to_u32s(&case.run()[0]);
    for (i, word) in part.iter().enumerate() {
        let at = i / 4;
        let inside = at % 8 < 7 && at / 8 % 6 < 4 && at / 48 < 3;
        assert_eq!(*word, if inside { whole[i] } else { 0xEEEE_EEEE }, "{i}");
    }
}

#[test]
fn workgroups_of_any_size_with_barriers_and_missing_invocations() {
    for size in ["1", "3", "5, 2", "8, 3, 2", "4, 1, 3"] {
        let source = format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<atomic<u32>, 64>;
            var<workgroup> sum: atomic<u32>;
            @compute @workgroup_size({size}) fn main(
                @builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32,
            ) {{
                var mine = g.x * 3u + g.y * 5u + g.z * 7u;
                for (var k = 0u; k < 2u; k++) {{
                    if (mine % 2u == 0u) {{ atomicAdd(&sum, mine); }}
                    workgroupBarrier();
                    mine += atomicLoad(&sum) % 8u;
                    workgroupBarrier();
                }}
                atomicAdd(&data[mine % 64u], mine + l);
            }}"
        );
        let mut case = Case::new(&source, [3, 2, 2], vec![vec![0; 256]]);
        let whole = case.run();
        case.threads = Some([u32::MAX; 3]);
        assert_eq!(case.run(), whole);
        case.threads = Some([2, 2, 1]);
        assert_ne!(case.run(), whole);
    }
}
