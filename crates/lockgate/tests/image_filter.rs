//! The image filter against an independent reference, and without its fence.

use lockgate::cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate::*;

const SIDE: u32 = 96;
const LEVELS: u32 = 4;

fn picture() -> image::RgbaImage {
    image::RgbaImage::from_fn(SIDE, SIDE, |x, y| {
        let wave = |a: u32, b: u32| ((x * a + y * b) % 251) as u8;
        image::Rgba([wave(7, 3), wave(2, 11), if (x / 8 + y / 8) % 2 == 0 { 230 } else { 20 }, 255])
    })
}

/// Runs the filter and returns every level.
fn filter(order: Order, fenced: bool) -> Vec<Vec<u8>> {
    let backend = CpuBackend::new(&CpuDescriptor { order, ..Default::default() }).unwrap();
    let checking = DeviceDescriptor { checking: Checking::Collect, ..Default::default() };
    let device = Device::new(Box::new(backend), checking);
    let source = include_str!("../../../examples/image-filter/filter.wgsl");
    let library = device.new_library(source).unwrap();
    let pipeline = |name| device.new_compute_pipeline(&library, name).unwrap();
    let (horizontal, vertical) = (pipeline("blur_horizontal"), pipeline("blur_vertical"));
    let chain =
        TextureDescriptor { width: SIDE, height: SIDE, mip_level_count: LEVELS, ..Default::default() };
    let input = device.new_texture(&TextureDescriptor { mip_level_count: 1, ..chain.clone() }).unwrap();
    input.replace_region(0, 0, &picture()).unwrap();
    let heap = |storage| {
        let size = device.texture_size_and_align(&chain).unwrap().size;
        device.new_heap(&HeapDescriptor { size, storage, ..Default::default() }).unwrap()
    };
    let (pictures, scratch) = (heap(StorageMode::Shared), heap(StorageMode::Private));
    let levels = pictures.new_texture(&chain).unwrap();
    let fence = device.new_fence("level");
    let allocator = device.new_command_allocator("");
    let mut commands = device.new_command_buffer("");
    commands.begin(&allocator);
    let mut encoder = commands.blit_command_encoder("");
    encoder.copy_texture(&input, Default::default(), &levels, Default::default(), [SIDE, SIDE, 1]);
    encoder.generate_mipmaps(&levels);
    encoder.update_fence(&fence);
    encoder.end_encoding();
    let serial = ComputePassDescriptor { dispatch_type: DispatchType::Serial, label: "" };
    for level in 0..LEVELS {
        let view = levels.new_view(PixelFormat::Rgba8Unorm, (level, level + 1), (0, 1)).unwrap();
        let [width, height, _] = view.level_size(0);
        let between =
            scratch.new_texture(&TextureDescriptor { width, height, ..Default::default() }).unwrap();
        let mut encoder = commands.compute_command_encoder_with(&serial);
        if fenced {
            encoder.wait_for_fence(&fence, Stages::ALL);
        }
        for (kernel, from, to) in [(&horizontal, &view, &between), (&vertical, &between, &view)] {
            let table = device.new_argument_table();
            table.set_texture("source", from);
            table.set_texture("target_", to);
            encoder.set_compute_pipeline(kernel);
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([width, height, 1]);
        }
        encoder.update_fence(&fence, Stages::ALL);
        encoder.end_encoding();
        between.make_aliasable().unwrap();
    }
    commands.end().unwrap();
    let queue = device.new_command_queue(&Default::default()).unwrap();
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    let report = device.take_report();
    assert_eq!(report.gaps.is_empty(), fenced, "{:?}", report.gaps.first());
    if !fenced {
        let alias = |gap: &sync::Gap| gap.earlier.access.resource != gap.later.access.resource;
        assert!(report.gaps.iter().any(alias), "the scratch textures share memory");
    }
    (0..LEVELS).map(|level| levels.get_bytes(level, 0).unwrap()).collect()
}

/// One level blurred by another library: the same Gaussian, by convolution of rows and then of columns.
fn reference(level: &image::RgbaImage) -> Vec<f32> {
    let weights: Vec<f32> = (-6i32..=6).map(|i| (-(i * i) as f32 / 8.0).exp()).collect();
    let total: f32 = weights.iter().sum();
    let convolve = |from: &image::Rgba32FImage, dx: i64, dy: i64| {
        image::Rgba32FImage::from_fn(from.width(), from.height(), |x, y| {
            let mut sum = [0.0f32; 4];
            for (weight, i) in weights.iter().zip(-6i64..) {
                let at =
                    |p: u32, d: i64, side: u32| (i64::from(p) + i * d).clamp(0, i64::from(side) - 1) as u32;
                let texel = from.get_pixel(at(x, dx, from.width()), at(y, dy, from.height()));
                (0..4).for_each(|c| sum[c] += texel.0[c] * weight / total);
            }
            image::Rgba(sum)
        })
    };
    let pixels = image::DynamicImage::ImageRgba8(level.clone()).to_rgba32f();
    convolve(&convolve(&pixels, 1, 0), 0, 1).into_raw()
}

#[test]
fn the_result_is_that_of_another_library_within_one_grey_level() {
    for order in [Order::Free, Order::Recording, Order::Reverse, Order::Random(3)] {
        let mut level = picture();
        for (number, result) in filter(order.clone(), true).into_iter().enumerate() {
            if number > 0 {
                // The library's own box filter halves the picture.
                let (width, height) = (level.width() / 2, level.height() / 2);
                level = image::imageops::thumbnail(&level, width, height);
            }
            let expected = reference(&level);
            let far = result.iter().zip(&expected).map(|(a, b)| (f32::from(*a) - b * 255.0).abs());
            let worst = far.fold(0.0, f32::max);
            assert!(worst <= 1.5, "level {number}, {order:?}: {worst} grey levels");
        }
    }
}

#[test]
fn without_the_fence_a_reversed_order_gives_another_picture() {
    let right = filter(Order::Reverse, true);
    assert_eq!(right, filter(Order::Recording, true));
    assert_ne!(right, filter(Order::Reverse, false));
}
