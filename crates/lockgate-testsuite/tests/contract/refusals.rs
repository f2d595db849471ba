//! Kernels that every device refuses, with the same words and the same place in the source.

use crate::subjects::on_all_devices;
use lockgate_runtime::*;

fn kernel(body: &str) -> String {
    format!(
        "struct In {{ @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32 }}
        struct Pair {{ same: u32, own: vec2u }}
        @group(0) @binding(0) var<storage, read_write> data: array<u32>;
        @group(0) @binding(1) var<storage, read> same: array<u32>;
        @group(0) @binding(2) var picture: texture_2d<u32>;
        @group(0) @binding(3) var<uniform> size: vec4u;
        var<workgroup> words: array<u32, 8>;
        var<private> own: array<Pair, 2>;
        fn either(a: u32, b: u32) -> u32 {{ if a > 5u {{ return a; }} return b; }}
        fn wait_if(condition: bool) {{ if condition {{ workgroupBarrier(); }} }}
        fn put(to: ptr<function, u32>, value: u32) {{ *to = value; }}
        @compute @workgroup_size(8) fn main(in: In, @builtin(global_invocation_id) id: vec3u) {{
            let l = in.index;
            let u = same[2];
            var n = 0u;
            {body}
            data[id.x] = n + words[l] + same[0] + textureLoad(picture, vec2u(), 0).x + size.x + own[0].same;
        }}"
    )
}

/// What not all invocations reach together.
const ALONE: &[&str] = &[
    "if l > 3u { workgroupBarrier(); }",
    "if l > 3u { return; } workgroupBarrier();",
    "if data[0] > 3u { textureBarrier(); }",
    "if words[0] > 3u { storageBarrier(); }",
    "if id.x > 3u { n = workgroupUniformLoad(&words[1]); }",
    "for (var k = 0u; k < l; k++) { storageBarrier(); }",
    "loop { if data[0] > 3u { break; } workgroupBarrier(); }",
    "loop { workgroupBarrier(); if l == 1u { break; } }",
    "loop { if l == 1u { continue; } workgroupBarrier(); if u > 1u { break; } }",
    "loop { workgroupBarrier(); continuing { break if l == 1u; } }",
    "loop { if u > 3u { if l > 1u { break; } } continuing { workgroupBarrier(); break if u > 5u; } }",
    "var m = 1u; if l == 2u { m = 2u; } for (var k = 0u; k < m; k++) { workgroupBarrier(); }",
    "var m = 0u; loop { m += 1u; if m > l { break; } } if m > 3u { workgroupBarrier(); }",
    "switch l { case 1u: { n = 1u; } default: { workgroupBarrier(); } }",
    "switch u { case 1u: { if l > 2u { break; } workgroupBarrier(); } default: {} }",
    "var m = 0u; switch l { case 1u: { m = 1u; } default: {} } if m == 0u { workgroupBarrier(); }",
    "wait_if(l > 2u);",
    "if either(u, l) > 2u { workgroupBarrier(); }",
    "if either(l, 1u) > 2u { workgroupBarrier(); }",
    "put(&n, l); if n > 2u { workgroupBarrier(); }",
    "if l > 2u { put(&n, 1u); } if n > 2u { workgroupBarrier(); }",
    "own[l % 2u].same = 1u; if own[0].same > 0u { workgroupBarrier(); }",
    "own[0].own.y = l; if all(own[0].own == vec2u()) { workgroupBarrier(); }",
    "if same[l] > 2u { workgroupBarrier(); }",
    "if textureLoad(picture, vec2(l, 0u), 0).x > 2u { workgroupBarrier(); }",
    "if l > 2u && u > 3u { workgroupBarrier(); }",
    "if min(in.group, vec3(l)).x > 2u { workgroupBarrier(); }",
    "var r = array<u32, 4>(); r[l % 4u] = 1u; if r[2] > 0u { workgroupBarrier(); }",
];

/// What they do.
const TOGETHER: &[&str] = &[
    "if l > 3u { n = 1u; } workgroupBarrier();",
    "if u > 3u { return; } workgroupBarrier();",
    "if in.group.x > 1u && u < 7u { workgroupBarrier(); }",
    "if size.x > 3u { n = workgroupUniformLoad(&words[1]); if n > 2u { n = workgroupUniformLoad(&words[2]); } }",
    "if workgroupUniformLoad(&words[l % 2u]) > 2u { workgroupBarrier(); }",
    "for (var k = 0u; k < u; k++) { if l < k { words[l] = k; } workgroupBarrier(); if k > size.y { break; } }",
    "for (var k = 0u; k < l; k++) { if k == 3u { break; } n += 1u; } workgroupBarrier();",
    "for (var k = 0u; k < 4u; k++) { if l == k { continue; } n += 1u; } workgroupBarrier();",
    "loop { if l == 1u { continue; } n += 1u; continuing { workgroupBarrier(); break if u > 0u; } }",
    "var m = l; m = u; if m > 2u { workgroupBarrier(); }",
    "switch u { case 1u: { workgroupBarrier(); } case 2u, 3u: { return; } default: { storageBarrier(); } }",
    "switch l { case 1u: { n = 1u; } default: { n = 2u; } } workgroupBarrier();",
    "n = either(l, 3u); wait_if(either(u, 3u) > 2u);",
    "var m = l; put(&m, u); put(&n, l); if m > 2u { workgroupBarrier(); }",
    "var p = Pair(u, vec2(l)); p.own.x = 1u; if p.same > 2u && p.own.x < 2u { workgroupBarrier(); }",
    "own[1] = Pair(l, vec2(l)); own[0].own.x = l; if own[0].same + own[0].own.y < 2u { workgroupBarrier(); }",
    "if id.y > 2u || vec2(l, id.z).y > 3u { workgroupBarrier(); }",
    "if (vec3(id.x, u, 1u) * 2u).zy.y > 2u { workgroupBarrier(); }",
    "if textureLoad(picture, vec2(u, 0u), 0).x + arrayLength(&data) > 2u { workgroupBarrier(); }",
    "if l > 2u { subgroupBarrier(); }",
];

#[test]
fn barriers_that_not_all_invocations_reach() {
    on_all_devices(|device| {
        for body in ALONE {
            let source = kernel(body);
            let library = device.new_library(&source).unwrap_or_else(|why| panic!("{why}: {body}"));
            let error = device.new_compute_pipeline(&library, "main").err();
            let error = error.unwrap_or_else(|| panic!("it is taken: {body}"));
            let expected = "kernel `main`: a barrier in control flow that is not uniform";
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Kernel, expected), "{body}");
            let span = error.source_span().map(|span| &source[span.bytes.clone()]).unwrap_or_default();
            assert!(span.contains("Barrier") || span.contains("UniformLoad"), "`{span}`: {body}");
        }
    });
}

#[test]
fn barriers_that_all_invocations_reach() {
    on_all_devices(|device| {
        for body in TOGETHER {
            let library = device.new_library(&kernel(body)).unwrap_or_else(|why| panic!("{why}: {body}"));
            match device.new_compute_pipeline(&library, "main") {
                Err(why) if why.kind() != ErrorKind::Unsupported => panic!("{why}: {body}"),
                _ => {}
            }
        }
    });
}

/// An override may make a side of the workgroup longer than one.
#[test]
fn sides_that_overrides_choose() {
    let source = |size: &str| {
        format!(
            "override side = 1u;
            @compute @workgroup_size(4, {size}) fn main(@builtin(local_invocation_id) id: vec3u) {{
                if id.y > 0u {{ workgroupBarrier(); }}
            }}"
        )
    };
    on_all_devices(|device| {
        let make =
            |size| device.new_compute_pipeline(&device.new_library(&source(size)).unwrap(), "main").map(drop);
        assert!(make("1").is_ok());
        assert!(make("2").is_err_and(|why| why.kind() == ErrorKind::Kernel));
        assert!(make("side").is_err_and(|why| why.kind() == ErrorKind::Kernel));
    });
}

#[test]
fn recursion_and_too_much_workgroup_memory() {
    let recursion = "fn f(x: u32) -> u32 { return g(x); } fn g(x: u32) -> u32 { return f(x); }
        @compute @workgroup_size(1) fn main() { _ = f(1u); }";
    let memory = "var<workgroup> large: array<u32, 100000000>;
        @compute @workgroup_size(1) fn main() { large[5] = 1u; }";
    on_all_devices(|device| {
        assert!(device.new_library(recursion).is_err_and(|why| why.kind() == ErrorKind::Kernel));
        let library = device.new_library(memory).unwrap();
        let error = device.new_compute_pipeline(&library, "main").err();
        assert!(error.is_some_and(|why| why.kind() == ErrorKind::Unsupported && why.source_span().is_some()));
    });
}
