//! The image filter with heaps and a fence: a picture becomes a chain of mip levels, each is blurred through a
//! scratch texture whose memory the next level takes over, and one picture shows them all.
//!
//! `cargo run --release -p lockgate --example image_filter [PICTURE [RESULT]]`
#![allow(clippy::print_stdout, reason = "an example says where its result is")]

use lockgate::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/image-filter");

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args().skip(1);
    let picture = image::open(paths.next().unwrap_or(format!("{FOLDER}/photo.jpg")))?.to_rgba8();
    let (width, height) = picture.dimensions();

    let device = system_default_device()?;
    let library = device.new_library(&std::fs::read_to_string(format!("{FOLDER}/filter.wgsl"))?)?;
    let kernel = |name| device.new_compute_pipeline(&library, name);
    let (horizontal, vertical) = (kernel("blur_horizontal")?, kernel("blur_vertical")?);
    let input = device.new_texture(&TextureDescriptor::d2(width, height))?;
    input.replace_region(0, 0, &picture)?;
    let shown = device.new_texture(&TextureDescriptor::d2(width + width / 2, height))?;
    // Heaps are untracked unless they say otherwise: from here on the fence alone keeps things in order.
    let chain = TextureDescriptor { mip_level_count: 5, ..TextureDescriptor::d2(width, height) };
    let size = device.texture_size_and_align(&chain)?.size;
    let heap = || device.new_heap(&HeapDescriptor { size, ..Default::default() });
    let (pictures, scratch, fence) = (heap()?, heap()?, device.new_fence("level"));
    let levels = pictures.new_texture(&chain)?;

    let allocator = device.new_command_allocator("filter");
    let mut commands = device.new_command_buffer("filter");
    commands.begin(&allocator);
    let mut encoder = commands.blit_command_encoder("downsample");
    let corner = TextureOrigin::default();
    encoder.copy_texture(&input, corner, &levels, corner, [width, height, 1]);
    encoder.generate_mipmaps(&levels);
    encoder.update_fence(&fence);
    encoder.end_encoding();
    let filter = |pass: &mut ComputeCommandEncoder<'_>, kernel: &_, source: &Texture, target: &Texture| {
        let table = device.new_argument_table();
        table.set_texture("source", source);
        table.set_texture("target_", target);
        pass.set_compute_pipeline(kernel);
        pass.set_argument_table(&table);
        pass.dispatch_threads(target.level_size(0));
    };
    let serial = ComputePassDescriptor { dispatch_type: DispatchType::Serial, label: "blur" };
    for level in 0..chain.mip_level_count {
        let view = levels.new_view(PixelFormat::Rgba8Unorm, (level, level + 1), (0, 1))?;
        let [width, height, _] = view.level_size(0);
        let between = scratch.new_texture(&TextureDescriptor::d2(width, height))?;
        let mut encoder = commands.compute_command_encoder_with(&serial);
        encoder.wait_for_fence(&fence, Stages::ALL);
        filter(&mut encoder, &horizontal, &view, &between);
        filter(&mut encoder, &vertical, &between, &view);
        encoder.update_fence(&fence, Stages::ALL);
        encoder.end_encoding();
        between.make_aliasable()?;
    }
    let mut encoder = commands.compute_command_encoder("compose");
    encoder.wait_for_fence(&fence, Stages::DISPATCH);
    filter(&mut encoder, &kernel("compose")?, &levels, &shown);
    encoder.end_encoding();
    commands.end()?;

    let feedback =
        device.new_command_queue(&Default::default())?.commit(&[&commands])?.wait_until_completed()?;
    let result = paths.next().unwrap_or("filtered.png".into());
    let bytes = shown.get_bytes(0, 0)?;
    image::save_buffer(&result, &bytes, shown.width(), shown.height(), image::ColorType::Rgba8)?;
    println!("wrote {result}: {} commands in {:?}", feedback.commands().len(), feedback.gpu_end_time());
    Ok(())
}
