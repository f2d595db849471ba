//! Arrays of bindings on every device: buffers, textures, samplers and storage textures, by an index that is the same for all, and by one
//! that is not.

use crate::harness::{drivers, reference, to_u32s};
use crate::textures::run;
use lockgate_runtime::*;

const COUNT: u32 = 16;

/// `index` chooses, from the invocation `i` and the uniform `u`, which is 1. How long an array is that is not bound is for the device
/// to choose.
fn kernel(index: &str, missing: bool) -> String {
    let length = if missing { "0u" } else { "arrayLength(&inputs[at % 3u].data)" };
    format!(
        "enable wgpu_binding_array;
        struct Words {{ scale: u32, data: array<u32> }}
        @group(0) @binding(0) var<storage, read> inputs: binding_array<Words, 3>;
        @group(0) @binding(1) var<storage, read_write> outputs: binding_array<Words, 2>;
        @group(0) @binding(2) var pictures: binding_array<texture_2d<f32>, 3>;
        @group(1) @binding(0) var filters: binding_array<sampler, 2>;
        @group(1) @binding(1) var images: binding_array<texture_storage_2d<r32uint, read_write>, 2>;
        @group(1) @binding(2) var<uniform> u: u32;
        @group(1) @binding(3) var<storage, read_write> out: array<vec4u>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {{
            let i = id.x;
            let at = {index};
            out[i].x = inputs[at % 3u].data[i] * inputs[at % 3u].scale + {length};
            outputs[at % 2u].data[i] = i + 100u * at;
            let uv = vec2(f32(i % 4u) * 0.25 + 0.2, 0.3);
            out[i].y = u32(textureSampleLevel(pictures[at % 3u], filters[at % 2u], uv, 0.0).x * 255.0 + 0.5);
            out[i].z = u32(textureLoad(pictures[(at + 1u) % 3u], vec2(i % 4u, 1u), 0).y * 255.0 + 0.5);
            out[i].w = textureLoad(images[at % 2u], vec2(i % 4u, i / 4u)).x;
            textureStore(images[at % 2u], vec2(i % 4u, i / 4u), vec4(i + 50u * u));
        }}"
    )
}

/// Indices, and whether they differ within a workgroup.
const INDICES: &[&str] = &["2u", "u", "u + i / 8u", "i", "i * 7u + u"];

/// What a driver may lack.
const LACKS: &[&str] = &["nullDescriptor", "ShaderNonUniform"];

fn words(device: &Device, from: u32) -> Result<Buffer> {
    device.new_buffer_with_data(&(from..from + COUNT + 1).collect::<Vec<_>>())
}

/// What it leaves in all that it may write; an element is left out where `missing` says so.
fn leaves(device: &Device, source: &str, missing: bool) -> Result<Vec<Vec<u32>>> {
    let table = device.new_argument_table();
    for element in (0..3).filter(|element| *element != 1 || !missing) {
        table.set_buffer_element("inputs", element, &words(device, 3 + 1000 * element)?);
        let picture = device.new_texture(&TextureDescriptor::d2(4, 4))?;
        let bytes: Vec<u8> = (0..64).map(|i| (i * 3 + 40 * element) as u8).collect();
        picture.replace_region(0, 0, &bytes)?;
        table.set_texture_element("pictures", element, &picture);
    }
    let (mut buffers, mut images) = (Vec::new(), Vec::new());
    for element in 0..2 {
        let buffer = words(device, 7)?;
        table.set_buffer_element("outputs", element, &buffer);
        buffers.push(buffer);
        let descriptor = TextureDescriptor { format: PixelFormat::R32Uint, ..TextureDescriptor::d2(4, 4) };
        let image = device.new_texture(&descriptor)?;
        table.set_texture_element("images", element, &image);
        images.push(image);
        let address = [AddressMode::ClampToEdge, AddressMode::Repeat][element as usize];
        let descriptor = SamplerDescriptor { address_modes: [address; 3], ..Default::default() };
        table.set_sampler_element("filters", element, &device.new_sampler(&descriptor)?);
    }
    table.set_buffer("u", &device.new_buffer_with_data(&[1u32; 4])?);
    let out = device.new_buffer_with_data(&[0u32; 4 * COUNT as usize])?;
    table.set_buffer("out", &out);
    run(device, source, &table, COUNT / 8)?;
    let mut left = vec![out.read::<u32>(0, 4 * COUNT as usize)?];
    for (buffer, image) in buffers.iter().zip(&images) {
        left.push(buffer.read::<u32>(0, COUNT as usize + 1)?);
        left.push(to_u32s(&image.get_bytes(0, 0)?));
    }
    Ok(left)
}

fn check(missing: bool) {
    for index in INDICES {
        let source = kernel(index, missing);
        let expected = leaves(&reference(), &source, missing).unwrap_or_else(|why| panic!("{why}: {source}"));
        for driver in drivers() {
            match driver.run(&source, |device| leaves(device, &source, missing)) {
                Ok(left) => assert_eq!(left, expected, "{}: {index}", driver.name),
                Err(why) if LACKS.iter().any(|lacks| why.to_string().contains(lacks)) => {
                    eprintln!("skipped: {}: {why}", driver.name);
                }
                Err(why) => panic!("{}: {why}: {index}", driver.name),
            }
        }
    }
}

#[test]
fn elements_are_found() {
    check(false);
}

#[test]
fn elements_that_are_not_bound_read_as_zero() {
    check(true);
}
