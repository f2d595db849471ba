//! What kernels cannot use is refused when the pipeline or the library is made: by name, with its place in the source.

use lockgate_cpu::kernel::Engine;
use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;

fn refuse(source: &str, engine: Engine) -> Error {
    let cpu = CpuDescriptor { engine, threads: 1, ..Default::default() };
    let device = Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), DeviceDescriptor::default());
    match device.new_library(source) {
        Ok(library) => match device.new_compute_pipeline(&library, "main") {
            Ok(_) => panic!("it is taken: {source}"),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

/// On every engine: the kind, a word of the message, and the text that it points to.
fn check(source: &str, kind: ErrorKind, word: &str, place: &str) {
    for engine in [Engine::Auto, Engine::Interpreter, Engine::Jit] {
        let error = refuse(source, engine);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(format!("{error} {:?}", error.source_span()).contains(word), "{error}: {source}");
        let span = error.source_span().unwrap_or_else(|| panic!("{error} has no place"));
        let text = &source[span.bytes.clone()];
        assert!(text.contains(place), "{error} points to `{text}`");
    }
}

#[test]
fn ray_queries() {
    let source = "enable wgpu_ray_query;
        @group(0) @binding(0) var scene: acceleration_structure;
        @compute @workgroup_size(1) fn main() {
            var query: ray_query;
            rayQueryInitialize(&query, scene, RayDesc(0u, 0xFFu, 0.0, 1.0, vec3f(), vec3f(0.0, 1.0, 0.0)));
            rayQueryProceed(&query);
        }";
    check(source, ErrorKind::Unsupported, "ray tracing", "scene");
}

#[test]
fn cooperative_matrices() {
    let source = "enable wgpu_cooperative_matrix;
        @group(0) @binding(0) var<storage, read_write> data: array<f32>;
        @compute @workgroup_size(8, 8) fn main() {
            let a = coopLoad<coop_mat8x8<f32, A>>(&data[0], 8u);
            coopStore(a, &data[64], 8u);
        }";
    check(source, ErrorKind::Unsupported, "a cooperative matrix", "coop");
}

#[test]
fn textures_that_the_device_does_not_have() {
    let kernel = |ty: &str, use_it: &str| {
        format!(
            "@group(0) @binding(0) var picture: {ty};
            @group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
            @compute @workgroup_size(1) fn main() {{ out[0] = {use_it}; }}"
        )
    };
    let multisampled = kernel("texture_multisampled_2d<f32>", "textureLoad(picture, vec2(0, 0), 1)");
    check(&multisampled, ErrorKind::Unsupported, "a multisampled texture", "picture");
    let depth = kernel("texture_depth_multisampled_2d", "vec4f(textureLoad(picture, vec2(0, 0), 1))");
    check(&depth, ErrorKind::Unsupported, "a multisampled texture", "picture");
    let external = kernel("texture_external", "textureLoad(picture, vec2(0, 0))");
    check(&external, ErrorKind::Unsupported, "an external texture", "picture");
    let wide = "@group(0) @binding(0) var picture: texture_storage_2d<r64uint, atomic>;
        @compute @workgroup_size(1) fn main() { textureAtomicMax(picture, vec2(0, 0), 5lu); }";
    check(wide, ErrorKind::Unsupported, "texels of 64 bits", "picture");
}

#[test]
fn what_compute_kernels_have_not() {
    let derivative = "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
        @compute @workgroup_size(1) fn main() { out[0] = dpdx(out[1]); }";
    check(derivative, ErrorKind::Kernel, "stage", "dpdx");
    let implicit =
        "@group(0) @binding(0) var picture: texture_2d<f32>; @group(0) @binding(1) var how: sampler;
        @group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
        @compute @workgroup_size(1) fn main() { out[0] = textureSample(picture, how, vec2(0.5)); }";
    check(implicit, ErrorKind::Kernel, "stage", "textureSample");
    let recursion = "fn f(x: u32) -> u32 { return g(x); } fn g(x: u32) -> u32 { return f(x); }
        @compute @workgroup_size(1) fn main() { _ = f(1u); }";
    check(recursion, ErrorKind::Kernel, "cycl", "g");
    let barrier = "@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {
            if l > 3u { workgroupBarrier(); }
        }";
    check(barrier, ErrorKind::Kernel, "not uniform", "workgroupBarrier");
    let memory = "var<workgroup> large: array<u32, 100000000>;
        @compute @workgroup_size(1) fn main() { large[5] = 1u; }";
    check(memory, ErrorKind::Unsupported, "more than 256 MiB of variables", "large");
    let many = "enable wgpu_binding_array;
        @group(0) @binding(0) var many: binding_array<texture_2d<f32>, 70000>;
        @compute @workgroup_size(1) fn main() { _ = textureDimensions(many[3]); }";
    check(many, ErrorKind::Unsupported, "an array of more than 65,536 bindings", "many");
}
