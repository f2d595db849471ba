//! Samples of cubes on every driver: filters reach across edges and around corners, and levels follow gradients.

use crate::texels::{Case, of};
use crate::textures::FILTER;
use lockgate_runtime::*;

/// Four times what a level may be off by: older drivers take logarithms roughly.
const LEVELS: f32 = 8.0 / 255.0;

/// The mean of three texels, with weights that may be multiples of a 256th.
pub(crate) const CORNER: f32 = 1.0 / 256.0;

/// Directions to 8 by 8 places on each face: of `ray` the outer ones are nearer to its edges than half a texel, of `inner` none
/// is.
pub(crate) const RAYS: &str = "
    fn ray(id: u32) -> vec3f { return toward(id, 3.62); }
    fn inner(id: u32) -> vec3f { return toward(id, 5.0); }
    fn toward(id: u32, part: f32) -> vec3f {
        let place = (vec2f(vec2(id % 8u, id / 8u % 8u)) - 3.5) / part + vec2(0.004, 0.007);
        switch id / 64u {
            case 0u: { return vec3(1.0, -place.yx); }
            case 1u: { return vec3(-2.0, 2.0 * place.x, 2.0 * place.y); }
            case 2u: { return vec3(place.x, 1.0, place.y); }
            case 3u: { return vec3(place.x, -1.0, -place.y) * 0.3; }
            case 4u: { return vec3(place.x, -place.y, 1.0); }
            default: { return vec3(-place, -1.0); }
        }
    }";
pub(crate) const COUNT: u32 = 6 * 64;

fn cube(format: PixelFormat, side: u32, mip_level_count: u32) -> TextureDescriptor {
    TextureDescriptor { mip_level_count, ..of(TextureType::Cube, format, [side, side, 1]) }
}

#[test]
fn filters_reach_across_the_edges_of_a_cube() {
    let source = format!(
        "@group(0) @binding(0) var cube: texture_cube<f32>;
        @group(0) @binding(1) var one: texture_cube<f32>;
        @group(0) @binding(2) var how: sampler;
        @group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
        {RAYS}
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
            // Across edges.
            let at = id.x * 4u;
            out[at] = textureSampleLevel(cube, how, ray(id.x), 0.0);
            out[at + 1u] = textureSampleLevel(cube, how, ray(id.x), 1.0);
            out[at + 2u] = textureSampleLevel(cube, how, ray(id.x), 1.3);
            out[at + 3u] = textureSampleLevel(one, how, ray(id.x), 0.0);
        }}"
    );
    let textures =
        [("cube", cube(PixelFormat::Rgba8Unorm, 4, 3)), ("one", cube(PixelFormat::Rgba8Unorm, 1, 1))];
    for address in [AddressMode::ClampToEdge, AddressMode::Repeat] {
        for filter in [FilterMode::Nearest, FilterMode::Linear] {
            let case = Case { source: &source, textures: &textures, filter, address, ..Case::default() };
            Case { groups: COUNT / 8, results: 4 * COUNT as usize, accuracy: FILTER, ..case }.check();
        }
    }
}

#[test]
fn gathers_reach_across_the_edges_of_a_cube() {
    let source = format!(
        "@group(0) @binding(0) var cube: texture_cube<f32>;
        @group(0) @binding(1) var numbers: texture_cube<u32>;
        @group(0) @binding(2) var depth: texture_depth_cube;
        @group(0) @binding(3) var how: sampler;
        @group(0) @binding(4) var test: sampler_comparison;
        @group(0) @binding(5) var<storage, read_write> out: array<vec4f>;
        {RAYS}
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
            // Across edges.
            let at = id.x * 4u;
            // What a gather of integers finds at a corner is for the device to choose.
            let apart = ray(id.x % 8u + id.x / 8u % 4u * 8u + 16u + id.x / 64u * 64u);
            out[at] = textureGather(2, cube, how, ray(id.x));
            out[at + 1u] = vec4f(textureGather(1, numbers, how, apart));
            out[at + 2u] = textureGather(depth, how, ray(id.x));
            out[at + 3u] = textureGatherCompare(depth, test, ray(id.x), 0.5);
        }}"
    );
    let textures = [
        ("cube", cube(PixelFormat::Rgba8Unorm, 4, 1)),
        ("numbers", cube(PixelFormat::Rgba8Uint, 4, 1)),
        ("depth", cube(PixelFormat::Depth32Float, 4, 1)),
    ];
    let case = Case { source: &source, textures: &textures, groups: COUNT / 8, ..Case::default() };
    Case { results: 4 * COUNT as usize, accuracy: CORNER, ..case }.check();
}

/// The level that a gradient asks for shows as what two levels are blended to, four times as large.
#[test]
fn gradients_choose_the_levels_of_a_cube() {
    let source = format!(
        "@group(0) @binding(0) var cube: texture_cube<f32>;
        @group(0) @binding(1) var how: sampler;
        @group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
        {RAYS}
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
            let at = id.x * 4u;
            let r = ray(id.x);
            out[at] = 4.0 * textureSampleGrad(cube, how, r, r.yzx * 0.3, vec3(0.0));
            out[at + 1u] = 4.0 * textureSampleGrad(cube, how, r, vec3(0.01, 0.0, 0.0), r.zxy * vec3(0.9, -0.4, 0.2));
            out[at + 2u] = 4.0 * textureSampleGrad(cube, how, r, vec3(0.3, 0.1, 0.0), vec3(0.0, -0.2, 0.5));
            out[at + 3u] = 4.0 * textureSampleGrad(cube, how, r, r * 5.0, r.yzx * 0.03);
        }}"
    );
    let textures = [("cube", cube(PixelFormat::Rgba8Unorm, 16, 5))];
    let mip_filter = FilterMode::Linear;
    let case = Case { source: &source, textures: &textures, mip_filter, ..Case::default() };
    Case { groups: COUNT / 8, results: 4 * COUNT as usize, accuracy: LEVELS, ..case }.check();
}
