//! The kernels and their sizes. The sources stand in `bench/kernels`.

use super::by_hand;
use super::work::{Item, Step, Tolerance, Work};

macro_rules! sources {
    ($name:literal) => {
        (
            include_str!(concat!("../../kernels/", $name, ".wgsl")),
            include_str!(concat!("../../kernels/", $name, ".cl")),
        )
    };
}

/// Words in no order, the same each time.
fn words(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    })
}

/// Floats from 0 to 1.
fn floats(count: usize) -> Item {
    Item::Buffer(words(count).map(|word| ((word >> 8) as f32 / (1 << 24) as f32).to_bits()).collect())
}

fn zeros(count: usize) -> Item {
    Item::Buffer(vec![0; count])
}

fn random(count: usize) -> Item {
    Item::Buffer(words(count).collect())
}

/// `1 Mi`, `4096`.
fn count_text(count: usize) -> String {
    if count >= 1 << 20 { format!("{} Mi", count >> 20) } else { count.to_string() }
}

pub fn works(quick: bool) -> Vec<Work> {
    vec![
        saxpy(if quick { 1 << 14 } else { 1 << 20 }),
        blur(if quick { 128 } else { 1024 }, false),
        blur(if quick { 128 } else { 1024 }, true),
        reduction(if quick { 1 << 16 } else { 1 << 22 }),
        matrix(if quick { 64 } else { 1024 }),
        bodies(if quick { 512 } else { 8192 }),
        histogram(if quick { 1 << 15 } else { 1 << 22 }),
        prefix(if quick { 1 << 14 } else { 1 << 22 }),
        bitonic(if quick { 1 << 12 } else { 1 << 20 }),
        resize(if quick { [400, 300] } else { [4000, 3000] }),
    ]
}

fn saxpy(count: usize) -> Work {
    let (wgsl, opencl) = sources!("saxpy");
    let step = Step {
        entry: "saxpy",
        bind: &[("x", 0), ("y", 1)],
        immediates: vec![],
        groups: [count as u32 / 256, 1, 1],
        local: [256, 1, 1],
    };
    Work {
        name: format!("saxpy, {} f32", count_text(count)),
        wgsl,
        opencl,
        items: vec![floats(count), floats(count)],
        steps: vec![step],
        fresh: &[1],
        result: 1,
        tolerance: Tolerance::Part(1e-6),
        hand: by_hand::saxpy,
    }
}

fn blur(side: u32, bytes: bool) -> Work {
    let (wgsl, opencl) = if bytes { sources!("blur-bytes") } else { sources!("blur") };
    let step = |entry, bind| Step {
        entry,
        bind,
        immediates: vec![side, side],
        groups: [side / 64, side, 1],
        local: [64, 1, 1],
    };
    let texels = (side * side) as usize;
    let items = match bytes {
        true => vec![random(texels), zeros(texels), zeros(texels)],
        false => vec![floats(4 * texels), zeros(4 * texels), zeros(4 * texels)],
    };
    let kind = if bytes { "packed rgba8" } else { "vec4<f32>" };
    Work {
        name: format!("blur, 9 taps, both ways, {side} x {side} {kind}"),
        wgsl,
        opencl,
        items,
        steps: vec![
            step("horizontal", &[("source", 0), ("blurred", 1)]),
            step("vertical", &[("source", 1), ("blurred", 2)]),
        ],
        fresh: &[],
        result: 2,
        tolerance: if bytes { Tolerance::Bytes(1) } else { Tolerance::Part(1e-6) },
        hand: if bytes { by_hand::blur_bytes } else { by_hand::blur },
    }
}

fn reduction(count: usize) -> Work {
    let (wgsl, opencl) = sources!("reduction");
    // Sums of small whole numbers are exact in any order.
    let data = words(count).map(|word| f32::from(word as u8 % 4).to_bits()).collect();
    let mut items = vec![Item::Buffer(data)];
    let mut steps = Vec::new();
    let mut left = count;
    for bind in [[("data", 0), ("sums", 1)], [("data", 1), ("sums", 2)], [("data", 2), ("sums", 3)]] {
        let groups = left.div_ceil(256);
        items.push(zeros(groups));
        let bind: &'static [(&str, usize)] = Box::leak(Box::new(bind));
        let immediates = vec![left as u32];
        steps.push(Step {
            entry: "reduction",
            bind,
            immediates,
            groups: [groups as u32, 1, 1],
            local: [256, 1, 1],
        });
        left = groups;
    }
    Work {
        name: format!("tree reduction, {} f32", count_text(count)),
        wgsl,
        opencl,
        items,
        steps,
        fresh: &[],
        result: 3,
        tolerance: Tolerance::Exact,
        hand: by_hand::reduction,
    }
}

fn matrix(side: u32) -> Work {
    let (wgsl, opencl) = sources!("matrix");
    let count = (side * side) as usize;
    let step = Step {
        entry: "matrix",
        bind: &[("a", 0), ("b", 1), ("product", 2)],
        immediates: vec![side],
        groups: [side / 16, side / 16, 1],
        local: [16, 16, 1],
    };
    Work {
        name: format!("matrix product in tiles, {side} x {side} f32"),
        wgsl,
        opencl,
        items: vec![floats(count), floats(count), zeros(count)],
        steps: vec![step],
        fresh: &[],
        result: 2,
        tolerance: Tolerance::Part(1e-5),
        hand: by_hand::matrix,
    }
}

fn bodies(count: usize) -> Work {
    let (wgsl, opencl) = sources!("bodies");
    let step = Step {
        entry: "bodies_step",
        bind: &[("bodies", 0), ("speeds", 1), ("moved", 2)],
        immediates: vec![count as u32],
        groups: [count as u32 / 256, 1, 1],
        local: [256, 1, 1],
    };
    Work {
        name: format!("bodies that attract, {count}, one step"),
        wgsl,
        opencl,
        items: vec![floats(4 * count), zeros(4 * count), zeros(4 * count)],
        steps: vec![step],
        fresh: &[],
        result: 2,
        tolerance: Tolerance::Part(1e-5),
        hand: by_hand::bodies,
    }
}

fn histogram(count: usize) -> Work {
    let (wgsl, opencl) = sources!("histogram");
    let step = Step {
        entry: "histogram",
        bind: &[("values", 0), ("bins", 1)],
        immediates: vec![],
        groups: [count as u32 / 16384, 1, 1],
        local: [256, 1, 1],
    };
    Work {
        name: format!("histogram with atomics, {} words", count_text(count)),
        wgsl,
        opencl,
        items: vec![random(count), zeros(256)],
        steps: vec![step],
        fresh: &[1],
        result: 1,
        tolerance: Tolerance::Exact,
        hand: by_hand::histogram,
    }
}

fn prefix(count: usize) -> Work {
    let (wgsl, opencl) = sources!("prefix");
    let blocks = [count.div_ceil(1024), count.div_ceil(1 << 20)];
    let whole = |count: usize| count.next_multiple_of(1024);
    let step = |entry, bind, blocks: usize| Step {
        entry,
        bind,
        immediates: vec![],
        groups: [blocks as u32, 1, 1],
        local: [256, 1, 1],
    };
    let items = [count, count, whole(blocks[0]), whole(blocks[0]), whole(blocks[1]), whole(blocks[1]), 1024];
    let mut items: Vec<Item> = items.into_iter().map(zeros).collect();
    items[0] = random(count);
    Work {
        name: format!("prefix sums, {} u32", count_text(count)),
        wgsl,
        opencl,
        items,
        steps: vec![
            step("scan", &[("source", 0), ("sums", 1), ("blocks", 2)], blocks[0]),
            step("scan", &[("source", 2), ("sums", 3), ("blocks", 4)], blocks[1]),
            step("scan", &[("source", 4), ("sums", 5), ("blocks", 6)], 1),
            step("add", &[("sums", 3), ("blocks", 5)], blocks[1]),
            step("add", &[("sums", 1), ("blocks", 3)], blocks[0]),
        ],
        fresh: &[],
        result: 1,
        tolerance: Tolerance::Exact,
        hand: by_hand::prefix,
    }
}

fn bitonic(count: usize) -> Work {
    let (wgsl, opencl) = sources!("bitonic");
    let step = |entry, immediates| Step {
        entry,
        bind: &[("words", 0)],
        immediates,
        groups: [count as u32 / 512, 1, 1],
        local: [256, 1, 1],
    };
    let mut steps = vec![step("blocks", vec![])];
    let mut run = 1024;
    while run <= count as u32 {
        let mut reach = run / 2;
        while reach >= 512 {
            steps.push(step("far", vec![run, reach]));
            reach /= 2;
        }
        steps.push(step("near", vec![run, reach]));
        run *= 2;
    }
    Work {
        name: format!("bitonic sort, {} u32", count_text(count)),
        wgsl,
        opencl,
        items: vec![random(count)],
        steps,
        fresh: &[0],
        result: 0,
        tolerance: Tolerance::Exact,
        hand: by_hand::bitonic,
    }
}

fn resize([width, height]: [u32; 2]) -> Work {
    let (wgsl, opencl) = sources!("resize");
    let small = [width / 3, height / 3];
    let texels = |size: [u32; 2]| (size[0] * size[1]) as usize;
    let step = Step {
        entry: "resize",
        bind: &[("picture", 0), ("linear", 1), ("resized", 2)],
        immediates: vec![],
        groups: [small[0].div_ceil(16), small[1].div_ceil(8), 1],
        local: [16, 8, 1],
    };
    Work {
        name: format!("resize, linear, {width} x {height} to {} x {} rgba8unorm", small[0], small[1]),
        wgsl,
        opencl,
        items: vec![
            Item::Texture { size: [width, height], texels: words(texels([width, height])).collect() },
            Item::Sampler,
            Item::Texture { size: small, texels: vec![0; texels(small)] },
        ],
        steps: vec![step],
        fresh: &[],
        result: 2,
        // Drivers weigh in steps of 1/256, each with its own rounding.
        tolerance: Tolerance::Bytes(2),
        hand: by_hand::resize,
    }
}
