//! Workloads (f) and (g): an unsharp mask on pictures, each with two orders to keep; and the same by a loop in Rust.

use super::workload::{Dispatch, Kernel, Span, Table, Workload, declarations};
use std::fmt::Write;
use std::thread;

const SHADER: &str = include_str!("filter.wgsl");
const WEIGHTS: [u32; 7] = [816, 722, 496, 266, 111, 36, 9];
const GROUP: [u32; 2] = [16, 8];

/// Width and height.
pub type Size = [u32; 2];

/// Buffers of a picture.
const PHOTO: usize = 0;
const TONED: usize = 1;
const ACROSS: usize = 2;
const BLURRED: usize = 3;
const OUT: usize = 4;
const BUFFERS: usize = 5;

/// The filter for so many pictures of that size, each in a lane of its own.
pub fn filter(letter: char, pictures: usize, size: Size) -> Workload {
    let [width, height] = size;
    let pixels = (width * height) as usize;
    let mut source = declarations();
    let _ = write!(source, "const WIDTH = {width}i;\nconst HEIGHT = {height}i;\n{SHADER}");
    let kernel = |name, bindings| Kernel { name, bindings };
    let plan: [(usize, [usize; 3], bool); 4] = [
        (0, [TONED, PHOTO, 0], false),
        (1, [ACROSS, PHOTO, 0], false),
        (2, [BLURRED, ACROSS, 0], true),
        (3, [OUT, TONED, BLURRED], true),
    ];
    let whole = |buffer| Span { buffer, offset: 0, size: pixels as u64 * 4 };
    let mut tables = Vec::new();
    let mut lane = |picture: usize| -> Vec<Dispatch> {
        let dispatch = |(at, (kernel, bound, barrier)): (usize, (usize, [usize; 3], bool))| {
            tables.push(Table { kernel, spans: bound.map(|buffer| whole(picture * BUFFERS + buffer)) });
            let groups = [width.div_ceil(GROUP[0]), height.div_ceil(GROUP[1]), 1];
            Dispatch { table: tables.len() - 1, groups, barrier, pass: at == 0 }
        };
        plan.into_iter().enumerate().map(dispatch).collect()
    };
    let lanes = (0..pictures).map(&mut lane).collect();
    let photos: Vec<Vec<u32>> = (0..pictures as u32).map(|seed| photo(seed, pixels)).collect();
    let done: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = photos.iter().map(|photo| scope.spawn(|| by_hand(photo, size))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("the filter does not panic")).collect()
    });
    Workload {
        name: match pictures {
            1 => format!("({letter}) image filter, {width} x {height}"),
            _ => format!("({letter}) the filter on {pictures} pictures, {width} x {height}, a queue each"),
        },
        source,
        kernels: vec![
            kernel("contrast", 2),
            kernel("blur_across", 2),
            kernel("blur_down", 2),
            kernel("sharpen", 3),
        ],
        buffers: vec![pixels; pictures * BUFFERS],
        contents: photos.into_iter().enumerate().map(|(at, photo)| (at * BUFFERS + PHOTO, photo)).collect(),
        tables,
        ranges: false,
        reachable: 0,
        lanes,
        output: (0..pictures).map(|at| whole(at * BUFFERS + OUT)).collect(),
        expected: Box::new(move |_| done.clone()),
    }
}

/// A picture of noise, in which every neighbour counts.
fn photo(seed: u32, pixels: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..pixels).map(|_| next()).collect()
}

fn by_hand(photo: &[u32], [width, height]: Size) -> Vec<u32> {
    let (width, height) = (width as usize, height as usize);
    let blur = |from: &[u32], across: bool| -> Vec<u32> {
        let texel = |x: usize, y: usize, step: isize| {
            let moved = |at: usize, last: usize| at.saturating_add_signed(step).min(last);
            let (x, y) = if across { (moved(x, width - 1), y) } else { (x, moved(y, height - 1)) };
            from[y * width + x].to_le_bytes()
        };
        let mean = |at: usize| {
            let mut sum = [2048u32; 4];
            for step in -6isize..=6 {
                let near = texel(at % width, at / width, step);
                let weight = WEIGHTS[step.unsigned_abs()];
                sum.iter_mut().zip(near).for_each(|(sum, part)| *sum += u32::from(part) * weight);
            }
            u32::from_le_bytes(sum.map(|sum| (sum >> 12) as u8))
        };
        (0..width * height).map(mean).collect()
    };
    let blurred = blur(&blur(photo, true), false);
    let sharpen = |(word, blurred): (&u32, &u32)| {
        let (color, blurred) = (word.to_le_bytes().map(u32::from), blurred.to_le_bytes());
        let toned = color.map(|part| part * part * (765 - 2 * part) / 65025);
        let sharp = |at: usize| (2 * toned[at] as i32 - i32::from(blurred[at])).clamp(0, 255) as u8;
        u32::from_le_bytes(std::array::from_fn(sharp))
    };
    photo.iter().zip(&blurred).map(sharpen).collect()
}
