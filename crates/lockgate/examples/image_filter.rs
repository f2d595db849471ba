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
    let [horizontal, vertical, compose] = ["blur_horizontal", "blur_vertical", "compose"]
        .map(|kernel| device.new_compute_pipeline(&library, kernel));
    let (horizontal, vertical, compose) = (horizontal?, vertical?, compose?);

    let input = device.new_texture(&TextureDescriptor { width, height, ..Default::default() })?;
    input.replace_region(0, 0, &picture)?;
    let chain = TextureDescriptor { width, height, mip_level_count: 5, ..Default::default() };
    let shown =
        device.new_texture(&TextureDescriptor { width: width + width / 2, height, ..Default::default() })?;
    // Heaps are untracked unless they say otherwise: from here on the fence alone keeps things in order.
    let size = device.texture_size_and_align(&chain)?.size;
    let pictures = device.new_heap(&HeapDescriptor { size, ..Default::default() })?;
    let scratch = device.new_heap(&HeapDescriptor { size, ..Default::default() })?;
    let levels = pictures.new_texture(&chain)?;
    let fence = device.new_fence("level");

    let allocator = device.new_command_allocator("filter");
    let mut commands = device.new_command_buffer("filter");
    commands.begin(&allocator);
    let mut encoder = commands.blit_command_encoder("downsample");
    encoder.copy_texture(
        &input,
        TextureOrigin::default(),
        &levels,
        TextureOrigin::default(),
        [width, height, 1],
    );
    encoder.generate_mipmaps(&levels);
    encoder.update_fence(&fence);
    encoder.end_encoding();
    let serial = ComputePassDescriptor { dispatch_type: DispatchType::Serial, label: "blur" };
    for level in 0..chain.mip_level_count {
        let view = levels.new_view(PixelFormat::Rgba8Unorm, (level, level + 1), (0, 1))?;
        let [width, height, _] = view.level_size(0);
        let between = scratch.new_texture(&TextureDescriptor { width, height, ..Default::default() })?;
        let mut encoder = commands.compute_command_encoder_with(&serial);
        encoder.wait_for_fence(&fence, Stages::ALL);
        for (kernel, source, target) in [(&horizontal, &view, &between), (&vertical, &between, &view)] {
            let table = device.new_argument_table();
            table.set_texture("source", source);
            table.set_texture("target_", target);
            encoder.set_compute_pipeline(kernel);
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([width, height, 1]);
        }
        encoder.update_fence(&fence, Stages::ALL);
        encoder.end_encoding();
        between.make_aliasable()?;
    }
    let table = device.new_argument_table();
    table.set_texture("source", &levels);
    table.set_texture("target_", &shown);
    let mut encoder = commands.compute_command_encoder("compose");
    encoder.wait_for_fence(&fence, Stages::DISPATCH);
    encoder.set_compute_pipeline(&compose);
    encoder.set_argument_table(&table);
    encoder.dispatch_threads([shown.width(), shown.height(), 1]);
    encoder.end_encoding();
    commands.end()?;

    let queue = device.new_command_queue(&Default::default())?;
    let feedback = queue.commit(&[&commands])?.wait_until_completed()?;
    let result = paths.next().unwrap_or("filtered.png".into());
    image::save_buffer(
        &result,
        &shown.get_bytes(0, 0)?,
        shown.width(),
        shown.height(),
        image::ColorType::Rgba8,
    )?;
    println!("wrote {result}: {} commands in {:?}", feedback.commands().len(), feedback.gpu_end_time());
    Ok(())
}
