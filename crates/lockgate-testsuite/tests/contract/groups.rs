//! Subgroups of any size on every device: what invocations compute together, expected from the places that the device itself says
//! they have.

use crate::harness::Numbers;
use crate::subjects::{on_all_devices, run_pass};
use lockgate_runtime::*;

/// Invocations of the one workgroup.
const COUNT: usize = 64;

/// An invocation: its word, and which lane of which subgroup it says it is.
#[derive(Clone, Copy, Debug)]
struct Member {
    word: u32,
    subgroup: u32,
    lane: u32,
}

/// What an expression has to give an invocation, from those of its subgroup that take part, by lane.
type Expected = fn(own: Member, all: &[Member]) -> u32;

fn fold(all: &[Member], start: u32, join: fn(u32, u32) -> u32) -> u32 {
    all.iter().fold(start, |sum, member| join(sum, member.word))
}

/// The members before one, and with itself.
fn upto(own: Member, all: &[Member], inclusive: bool) -> Vec<Member> {
    let before = |member: &&Member| member.lane < own.lane || inclusive && member.lane == own.lane;
    all.iter().filter(before).copied().collect()
}

/// The word of a lane; what comes from elsewhere is for the device to choose, so kernels do not ask for it.
fn word(all: &[Member], lane: u32) -> u32 {
    all.iter().find(|member| member.lane == lane).map_or(0, |member| member.word)
}

const ALL: &[(&str, Expected)] = &[
    ("subgroupAdd(x)", |_, all| fold(all, 0, u32::wrapping_add)),
    ("subgroupMul(x)", |_, all| fold(all, 1, u32::wrapping_mul)),
    ("subgroupMin(x)", |_, all| fold(all, u32::MAX, u32::min)),
    ("subgroupMax(x)", |_, all| fold(all, 0, u32::max)),
    ("subgroupAnd(x)", |_, all| fold(all, u32::MAX, |a, b| a & b)),
    ("subgroupOr(x)", |_, all| fold(all, 0, |a, b| a | b)),
    ("subgroupXor(x)", |_, all| fold(all, 0, |a, b| a ^ b)),
    ("bitcast<u32>(subgroupMin(bitcast<i32>(x << 22u)))", |_, all| {
        all.iter().map(|member| (member.word << 22) as i32).min().unwrap_or(0) as u32
    }),
    ("subgroupInclusiveAdd(x)", |own, all| fold(&upto(own, all, true), 0, u32::wrapping_add)),
    ("subgroupExclusiveAdd(x)", |own, all| fold(&upto(own, all, false), 0, u32::wrapping_add)),
    ("subgroupInclusiveMul(x)", |own, all| fold(&upto(own, all, true), 1, u32::wrapping_mul)),
    ("subgroupExclusiveMul(x)", |own, all| fold(&upto(own, all, false), 1, u32::wrapping_mul)),
    ("u32(subgroupAny(x < 100u)) + 2u * u32(subgroupAll(x > 50u))", |_, all| {
        u32::from(all.iter().any(|member| member.word < 100))
            + 2 * u32::from(all.iter().all(|member| member.word > 50))
    }),
    ("subgroupBroadcastFirst(x)", |_, all| all[0].word),
    ("countOneBits(subgroupBallot(x % 2u == 1u).x) + 100u * countOneBits(subgroupBallot().y)", |_, all| {
        let odd = |member: &&Member| member.lane < 32 && member.word % 2 == 1;
        let high = |member: &&Member| (32..64).contains(&member.lane);
        all.iter().filter(odd).count() as u32 + 100 * all.iter().filter(high).count() as u32
    }),
];

/// The same, where all invocations take part.
const WHOLE: &[(&str, Expected)] = &[
    ("subgroupBroadcast(x, 1u)", |_, all| word(all, 1)),
    ("subgroupShuffle(x, size - 1u - lane)", |own, all| word(all, all.len() as u32 - 1 - own.lane)),
    ("subgroupShuffle(x, x % size)", |own, all| word(all, own.word % all.len() as u32)),
    ("subgroupShuffleXor(x, 3u)", |own, all| word(all, own.lane ^ 3)),
    ("select(subgroupShuffleUp(x, 2u), 0u, lane < 2u)", |own, all| word(all, own.lane.wrapping_sub(2))),
    ("select(subgroupShuffleDown(x, 1u), 0u, lane + 1u >= size)", |own, all| word(all, own.lane + 1)),
    ("quadBroadcast(x, 2u)", |own, all| word(all, own.lane / 4 * 4 + 2)),
    ("quadSwapX(x)", |own, all| word(all, own.lane ^ 1)),
    ("quadSwapY(x)", |own, all| word(all, own.lane ^ 2)),
    ("quadSwapDiagonal(x)", |own, all| word(all, own.lane ^ 3)),
    ("subgroupBallot().x", |_, all| u32::MAX >> 32u32.saturating_sub(all.len() as u32)),
    ("size * 1000u + subgroups", |_, all| all.len() as u32 * 1000 + (COUNT / all.len()) as u32),
];

fn kernel(expression: &str, condition: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> words: array<u32>;
        @group(0) @binding(1) var<storage, read_write> places: array<vec2u>;
        @compute @workgroup_size({COUNT}) fn main(@builtin(local_invocation_index) l: u32,
            @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
            @builtin(subgroup_size) size: u32, @builtin(num_subgroups) subgroups: u32) {{
            let x = words[l];
            places[l] = vec2(subgroup, lane);
            var r = size - size + subgroups - subgroups;
            if {condition} {{ r = {expression}; }}
            words[l] = r;
        }}"
    )
}

/// Runs a kernel, and compares it with what the invocations for which the condition holds have to get.
fn check(device: &Device, (expression, expected): (&str, Expected), condition: &str, holds: fn(u32) -> bool) {
    let source = kernel(expression, condition);
    let library = device.new_library(&source).unwrap_or_else(|why| panic!("{why}: {source}"));
    let pipeline = match device.new_compute_pipeline(&library, "main") {
        Ok(pipeline) => pipeline,
        Err(why) if why.kind() == ErrorKind::Unsupported => return eprintln!("skipped: {why}"),
        Err(why) => panic!("{why}: {source}"),
    };
    let mut numbers = Numbers(4711);
    let given: Vec<u32> = (0..COUNT).map(|_| numbers.next() % 1000).collect();
    let table = device.new_argument_table();
    let words = device.new_buffer_with_data(&given).unwrap();
    let places = device.new_buffer_with_data(&[0u32; 2 * COUNT]).unwrap();
    table.set_buffer("words", &words);
    table.set_buffer("places", &places);
    run_pass(device, |encoder| {
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(&table);
        encoder.dispatch_threadgroups([1, 1, 1]);
    })
    .unwrap();
    let got = words.read::<u32>(0, COUNT).unwrap();
    let places = places.read::<u32>(0, 2 * COUNT).unwrap();
    let member = |(at, word): (usize, &u32)| Member {
        word: *word,
        subgroup: places[2 * at],
        lane: places[2 * at + 1],
    };
    let members: Vec<Member> = given.iter().enumerate().map(member).collect();
    for (own, got) in members.iter().zip(got) {
        let takes_part = |other: &&Member| other.subgroup == own.subgroup && holds(other.word);
        let mut all: Vec<Member> = members.iter().filter(takes_part).copied().collect();
        all.sort_by_key(|member| member.lane);
        let expected = if holds(own.word) { expected(*own, &all) } else { 0 };
        assert_eq!(got, expected, "{}: {own:?} of {all:?}\n{source}", device.info().description);
    }
}

#[test]
fn whole_subgroups_of_any_size() {
    on_all_devices(|device| {
        for case in ALL.iter().chain(WHOLE) {
            check(device, *case, "x < 1000u", |_| true);
        }
    });
}

#[test]
fn those_elsewhere_take_no_part_in_subgroups_of_any_size() {
    on_all_devices(|device| {
        for case in ALL {
            check(device, *case, "x % 3u != 1u", |word| word % 3 != 1);
        }
    });
}
