//! Arrays of cubes on every device: samples, gathers and comparisons find the cube and its face, copies the slice, and a view shows
//! as what a kernel declares.

use crate::cubes::{CORNER, COUNT, RAYS};
use crate::harness::to_u32s;
use crate::subjects::{Subject, on_all_devices, run_pass, subjects};
use crate::texels::{Case, of};
use crate::textures::FILTER;
use lockgate_runtime::*;
use lockgate_vulkan::{Fault, VulkanBackend, VulkanDescriptor};

fn cubes(format: PixelFormat, side: u32, count: u32, mip_level_count: u32) -> TextureDescriptor {
    TextureDescriptor { mip_level_count, ..of(TextureType::CubeArray, format, [side, side, count]) }
}

/// Cubes of an array in turn; one beyond the last stands for the last.
const CUBE: &str = "let r = RAY(id.x); let cube = id.x % 4u;";

/// An invocation for each ray, with the rays by name.
fn kernel(bindings: &str, ray: &str, body: &str) -> String {
    let remark = if ray == "ray" { "// Across edges." } else { "" };
    let body = format!("{remark} \n {CUBE} {body}").replace("RAY", ray);
    format!(
        "{bindings} {RAYS}
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{ {body} }}"
    )
}

#[test]
fn filters_find_the_cube_and_its_face() {
    let bindings = "@group(0) @binding(0) var cubes: texture_cube_array<f32>;
        @group(0) @binding(1) var how: sampler;
        @group(0) @binding(2) var<storage, read_write> out: array<vec4f>;";
    let textures = [("cubes", cubes(PixelFormat::Rgba8Unorm, 4, 3, 2))];
    for (ray, smaller) in [("inner", "toward(id.x, 8.0)"), ("ray", "r")] {
        let body = format!(
            "out[id.x * 2u] = textureSampleLevel(cubes, how, r, cube, 0.0);
            out[id.x * 2u + 1u] = textureSampleLevel(cubes, how, {smaller}, cube, 1.0);"
        );
        let source = kernel(bindings, ray, &body);
        for filter in [FilterMode::Nearest, FilterMode::Linear] {
            let case = Case { source: &source, textures: &textures, filter, ..Case::default() };
            Case { groups: COUNT / 8, results: 2 * COUNT as usize, accuracy: FILTER, ..case }.check();
        }
    }
}

#[test]
fn gathers_and_comparisons_find_the_cube_and_its_face() {
    let bindings = "@group(0) @binding(0) var cubes: texture_cube_array<f32>;
        @group(0) @binding(1) var numbers: texture_cube_array<u32>;
        @group(0) @binding(2) var depths: texture_depth_cube_array;
        @group(0) @binding(3) var how: sampler;
        @group(0) @binding(4) var test: sampler_comparison;
        @group(0) @binding(5) var<storage, read_write> out: array<vec4f>;";
    let textures = [
        ("cubes", cubes(PixelFormat::Rgba8Unorm, 4, 3, 2)),
        ("numbers", cubes(PixelFormat::Rgba8Uint, 4, 3, 1)),
        ("depths", cubes(PixelFormat::Depth32Float, 4, 3, 1)),
    ];
    // What a gather of integers finds at a corner is for the device to choose.
    let body = "let at = id.x * 7u;
        let apart = RAY(id.x % 8u + id.x / 8u % 4u * 8u + 16u + id.x / 64u * 64u);
        out[at] = vec4(textureSampleCompareLevel(depths, test, r, cube, 0.6));
        out[at + 1u] = vec4(textureSampleLevel(depths, how, r, cube, 0));
        out[at + 2u] = textureGather(2, cubes, how, r, cube);
        out[at + 3u] = vec4f(textureGather(1, numbers, how, apart, cube));
        out[at + 4u] = textureGather(depths, how, r, cube);
        out[at + 5u] = textureGatherCompare(depths, test, r, cube, 0.5);
        let layers = vec2(textureNumLayers(cubes), textureNumLayers(depths));
        out[at + 6u] = vec4f(vec4(textureDimensions(cubes, 1), layers));";
    for ray in ["inner", "ray"] {
        let source = kernel(bindings, ray, body);
        let case = Case { source: &source, textures: &textures, groups: COUNT / 8, ..Case::default() };
        Case { results: 7 * COUNT as usize, accuracy: CORNER, ..case }.check();
    }
}

/// The middle of each face of two cubes, by the number of its slice.
const MIDDLES: &str = "
    fn middle(slice: u32) -> vec3f {
        var axis = vec3f();
        axis[slice % 6u / 2u] = select(1.0, -1.0, slice % 2u == 1u);
        return axis;
    }";
const SLICES: u32 = 12;

fn shared(device: &Device, format: PixelFormat, label: &str) -> Texture {
    let label = label.to_owned();
    device.new_texture(&TextureDescriptor { label, ..cubes(format, 2, 2, 1) }).unwrap()
}

/// Four texels of each slice, all different.
fn distinct(slice: u32) -> Vec<u8> {
    (0..16).map(|byte| (16 * slice + byte) as u8).collect()
}

#[test]
fn copies_name_each_face_of_each_cube() {
    on_all_devices(|device| {
        let [from, to] = ["from", "to"].map(|label| shared(device, PixelFormat::Rgba8Unorm, label));
        let rows: Vec<u8> = (0..SLICES).flat_map(distinct).collect();
        let source = device.new_buffer_with_data(&rows).unwrap();
        let target = device.new_buffer_with_data(&vec![0u8; rows.len()]).unwrap();
        let slice = |slice| TextureOrigin { slice, ..Default::default() };
        run_pass(device, |encoder| {
            for at in 0..SLICES {
                let layout = BufferLayout { offset: 16 * u64::from(at), ..Default::default() };
                encoder.copy_buffer_to_texture(&source, layout, &from, slice(at), [2, 2, 1]);
            }
            for at in 0..SLICES {
                // Backwards, so that faces and cubes change places.
                encoder.copy_texture(&from, slice(at), &to, slice(SLICES - 1 - at), [2, 2, 1]);
            }
            for at in 0..SLICES {
                let layout = BufferLayout { offset: 16 * u64::from(at), ..Default::default() };
                encoder.copy_texture_to_buffer(&to, slice(at), [2, 2, 1], &target, layout);
            }
        })
        .unwrap();
        let backwards: Vec<u8> = (0..SLICES).rev().flat_map(distinct).collect();
        assert_eq!(target.read::<u8>(0, rows.len()).unwrap(), backwards);
        assert!((0..SLICES).all(|at| from.get_bytes(0, at).unwrap() == distinct(at)));
        assert!(to.get_bytes(0, SLICES).is_err());
    });
}

/// Faces are stored as layers, loaded as pictures and layers, and sampled as one cube and as several.
#[test]
fn a_view_shows_as_what_a_kernel_declares() {
    let store = "@group(0) @binding(0) var layers: texture_storage_2d_array<r32uint, write>;
        @compute @workgroup_size(12) fn main(@builtin(local_invocation_index) slice: u32) {
            for (var i = 0u; i < 4u; i++) {
                textureStore(layers, vec2(i % 2u, i / 2u), slice, vec4(100u * slice + i));
            }
        }";
    let load = format!(
        "@group(0) @binding(0) var cubes: texture_cube_array<u32>;
        @group(0) @binding(1) var second: texture_cube_array<u32>;
        @group(0) @binding(2) var cube: texture_cube<u32>;
        @group(0) @binding(3) var layers: texture_2d_array<u32>;
        @group(0) @binding(4) var face: texture_2d<u32>;
        @group(0) @binding(5) var how: sampler;
        @group(0) @binding(6) var<storage, read_write> out: array<vec4u>;
        {MIDDLES}
        @compute @workgroup_size(12) fn main(@builtin(local_invocation_index) slice: u32) {{
            let m = middle(slice);
            out[slice * 4u] = textureGather(0, cubes, how, m, slice / 6u);
            out[slice * 4u + 1u] = textureGather(0, second, how, m, 0u);
            out[slice * 4u + 2u] = textureGather(0, cube, how, m);
            let counts = 10u * textureNumLayers(cubes) + textureNumLayers(second);
            let first = textureLoad(layers, vec2(0, 0), slice, 0).x;
            out[slice * 4u + 3u] = vec4(first, textureLoad(face, vec2(1, 1), 0).x, textureNumLayers(layers), counts);
        }}"
    );
    // As a gather goes around.
    let around = |slice: u32| [2, 3, 1, 0].map(|texel| 100 * slice + texel);
    on_all_devices(|device| {
        let cubes = shared(device, PixelFormat::R32Uint, "cubes");
        let view = |slices| cubes.new_view(PixelFormat::R32Uint, (0, 1), slices).unwrap();
        let table = device.new_argument_table();
        table.set_texture("layers", &cubes);
        crate::textures::run(device, store, &table, 1).unwrap();
        table.set_texture("cubes", &cubes);
        table.set_texture("second", &view((6, 12)));
        table.set_texture("cube", &view((3, 9)));
        table.set_texture("face", &view((7, 8)));
        table.set_sampler("how", &device.new_sampler(&Default::default()).unwrap());
        let out = device.new_buffer_with_data(&[0u32; 16 * SLICES as usize]).unwrap();
        table.set_buffer("out", &out);
        crate::textures::run(device, &load, &table, 1).unwrap();
        let words = to_u32s(&out.read(0, 64 * SLICES as usize).unwrap());
        for (slice, found) in (0..).zip(words.chunks(16)) {
            let own = [around(slice), around(6 + slice % 6), around(3 + slice % 6)].concat();
            assert_eq!(found[..12], own, "slice {slice}");
            assert_eq!(found[12..], [100 * slice, 703, SLICES, 21], "slice {slice}");
        }
    });
}

const SAMPLED: &str = "@group(0) @binding(0) var cubes: texture_cube_array<f32>;
    @group(0) @binding(1) var how: sampler;
    @group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
    @compute @workgroup_size(1) fn main() { out[0] = textureSampleLevel(cubes, how, vec3(1.0), 1u, 0.0); }";

#[test]
fn what_is_no_array_of_cubes_is_refused() {
    on_all_devices(|device| {
        let most = device.info().max_texture_size;
        let descriptor = cubes(PixelFormat::Rgba8Unorm, 2, 1, 1);
        let wrong = [
            (TextureDescriptor { height: 1, ..descriptor.clone() }, "the sides of a cube are squares"),
            (TextureDescriptor { depth: 2, ..descriptor.clone() }, "only a 3D texture has depth"),
            (TextureDescriptor { array_length: 0, ..descriptor.clone() }, "a side of"),
            (TextureDescriptor { array_length: most / 6 + 1, ..descriptor.clone() }, "(max_texture_size)"),
            (TextureDescriptor { mip_level_count: 3, ..descriptor.clone() }, "3 mip levels are not in 1..=2"),
        ];
        for (descriptor, part) in wrong {
            let why = device.new_texture(&descriptor).unwrap_err();
            assert!(why.kind() == ErrorKind::Invalid && why.to_string().contains(part), "{why}");
        }
        let table = device.new_argument_table();
        table.set_sampler("how", &device.new_sampler(&Default::default()).unwrap());
        table.set_buffer("out", &device.new_buffer_with_data(&[0f32; 4]).unwrap());
        let array = shared(device, PixelFormat::Rgba8Unorm, "own");
        let layers = TextureDescriptor {
            label: "own".into(),
            ..of(TextureType::D2Array, PixelFormat::Rgba8Unorm, [2, 2, 6])
        };
        let taken = [
            (
                array.new_view(PixelFormat::Rgba8Unorm, (0, 1), (0, 9)).unwrap(),
                "9 slices of cube-array texture `own` are bound",
            ),
            (device.new_texture(&layers).unwrap(), "6 slices of 2d-array texture `own` are bound"),
        ];
        for (texture, part) in taken {
            table.set_texture("cubes", &texture);
            let why = crate::textures::run(device, SAMPLED, &table, 1).unwrap_err();
            let expected = format!("`cubes` is a cube-array texture, and {part}");
            assert!(why.kind() == ErrorKind::Invalid && why.to_string().contains(&expected), "{why}");
        }
    });
}

#[test]
fn a_driver_without_arrays_of_cubes_is_told_so() {
    for subject in subjects() {
        let Subject::Vulkan(name, 0) = subject else { continue };
        let fault = Some(Fault::NoCubeArrays);
        let vulkan = VulkanDescriptor { adapter: Some(name), fault, ..Default::default() };
        let device = Device::new(Box::new(VulkanBackend::open(&vulkan).unwrap()), Default::default());
        let why = device.new_texture(&cubes(PixelFormat::Rgba8Unorm, 2, 1, 1)).unwrap_err();
        assert!(why.kind() == ErrorKind::Unsupported && why.to_string().contains("imageCubeArray"), "{why}");
        let library = device.new_library(SAMPLED).unwrap();
        let why = device.new_compute_pipeline(&library, "main").unwrap_err();
        assert!(why.kind() == ErrorKind::Unsupported && why.to_string().contains("CubeArray"), "{why}");
        // A cube alone needs no feature.
        let cube = of(TextureType::Cube, PixelFormat::Rgba8Unorm, [2, 2, 1]);
        assert!(device.new_texture(&cube).is_ok());
    }
}
