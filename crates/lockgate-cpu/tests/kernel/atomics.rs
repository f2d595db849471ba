//! Atomic operations are recorded as if each was told by a call: with plain accesses of the same memory before and after,
//! by the same invocation and others, over barriers and workgroups.

use crate::{
    harness::{Numbers, draw},
    watched::check_but_order,
};

#[test]
fn atomic_operations_race_with_plain_accesses_alone() {
    // The first makes the launch look at cells, from the second workgroup on.
    let scattered = "data[128 + (id.x * 37) % 128] = 1; ";
    for (body, races) in [
        ("atomicAdd(&counts[id.x % 5], 1);", false),
        ("sum += atomicLoad(&counts[3]); atomicStore(&counts[3], id.x);", false),
        ("atomicAdd(&counts[3], 1); if id.x == 70 { data[3] = 9; }", true),
        ("atomicAdd(&counts[3], 1); if id.x == 70 { sum += data[3]; }", true),
        ("sum += atomicLoad(&counts[3]); if id.x == 70 { sum += data[3]; }", false),
        ("sum += atomicLoad(&counts[3]); if id.x == 70 { data[3] = 9; }", true),
        ("if id.x == 70 { data[3] = 9; } atomicAdd(&counts[3], 1);", true),
        ("if id.x == 70 { sum += data[3]; } atomicAdd(&counts[3], 1);", true),
        (
            "if id.x == 3 { sum += data[3]; } storageBarrier(); if id.x > 64 { atomicAdd(&counts[3], 1); }",
            true,
        ),
        // In one workgroup, before and behind a barrier.
        (
            "if group.x == 4 { atomicAdd(&counts[3], 1); } storageBarrier(); if id.x == 70 { data[3] += 9; }",
            false,
        ),
        (
            "if id.x == 70 { data[3] += 9; } storageBarrier(); if group.x == 4 { atomicAdd(&counts[3], 1); }",
            false,
        ),
        (
            "if group.x == 4 { atomicAdd(&counts[3], 1); } workgroupBarrier(); if id.x == 70 { data[3] += 9; }",
            true,
        ),
        (
            "if group.x == 4 { atomicAdd(&counts[3], 1); storageBarrier(); atomicAdd(&counts[3], 1); if lane == 3 { data[3] = 1; } }",
            true,
        ),
        (
            "if group.x == 4 { atomicAdd(&counts[3], 1); storageBarrier(); if lane == 3 { atomicAdd(&counts[3], 1); data[3] = 1; } }",
            false,
        ),
        (
            "if group.x == 4 { atomicAdd(&counts[3], 1); storageBarrier(); if lane < 2 { atomicAdd(&counts[3], 1); } if lane == 1 { data[3] = 1; } }",
            true,
        ),
        (
            "if group.x == 2 || id.x == 70 { atomicAdd(&counts[3], 1); } storageBarrier(); if id.x == 70 { data[3] = 9; }",
            true,
        ),
        // Loads hide no other operation from a read.
        (
            "if lane < 2 { _ = atomicLoad(&counts[100 + group.x]); } if lane == 3 { atomicAdd(&counts[100 + group.x], 1); } if lane == 5 { sum += data[100 + group.x]; }",
            true,
        ),
        (
            "if id.x < 33 { _ = atomicLoad(&counts[100]); } if id.x == 9 { atomicAdd(&counts[100], 1); } if id.x == 70 { sum += data[100]; }",
            true,
        ),
        ("if id.x < 33 { _ = atomicLoad(&counts[100]); } if id.x > 69 { sum += data[100]; }", false),
        // By itself.
        ("atomicAdd(&counts[id.x], 1); data[id.x] += 1; atomicAdd(&counts[id.x], 1);", false),
        ("atomicAdd(&counts[id.x], 1); data[id.x ^ 1] += 1; atomicAdd(&counts[id.x], 1);", true),
    ] {
        for scattered in ["", scattered] {
            for space in ["", " "] {
                let body = format!("{scattered}{body}{space}");
                assert_eq!(check_but_order(&body, None), races, "{body}");
            }
        }
    }
}

#[test]
fn reads_of_nothing_are_told_until_something_is_stored() {
    for body in [
        "sum += atomicAdd(&hits[lane], 1);",
        "sum += atomicAdd(&hits[lane / 4], 1);",
        "atomicStore(&hits[lane], 1); workgroupBarrier(); sum += atomicAdd(&hits[15 - lane], 1);",
        "if lane != 3 { atomicStore(&hits[lane], 1); } workgroupBarrier(); sum += atomicLoad(&hits[15 - lane]);",
        "if id.x != 70 { atomicStore(&hits[lane], 1); } workgroupBarrier(); sum += atomicLoad(&hits[15 - lane]);",
        "atomicStore(&hits[lane], id.x); atomicStore(&hits[3], 1); sum += atomicLoad(&hits[lane ^ 1]);",
        "for (var k = 0u; k < 3; k++) { atomicMax(&hits[(lane + k + group.x) % 16], k); workgroupBarrier(); }",
        "atomicAdd(&counts[(id.x * 37) % 128], 1);",
        "atomicStore(&counts[(id.x * 37) % 128], 1);",
        "sum += atomicLoad(&counts[(id.x * 37) % 128]);",
    ] {
        for space in ["", " "] {
            assert!(!check_but_order(&format!("{body}{space}"), None), "{body}");
        }
    }
}

fn statement(numbers: &mut Numbers, plain: bool) -> String {
    let (a, b) = (numbers.next() % 16, numbers.next() % 4);
    let element = match numbers.next() % 5 {
        0 => format!("{a}"),
        1 => format!("(id.x * 37 + {a}) % 64"),
        2 => format!("id.x / {}", b + 1),
        3 => format!("id.x ^ {b}"),
        _ => "id.x".into(),
    };
    let own = if b == 0 { "lane".into() } else { format!("(lane * {b} + {a}) % 16") };
    match numbers.next() % if plain { 14 } else { 10 } {
        0 | 1 => format!("atomicAdd(&counts[{element}], 1);"),
        2 => format!("sum += atomicLoad(&counts[{element}]);"),
        3 => format!("atomicStore(&counts[{element}], id.x);"),
        4 => format!("if id.x % 8 != {b} {{ atomicMax(&counts[{element}], {a}); }}"),
        5 => format!("atomicStore(&hits[{own}], {a});"),
        6 => format!("sum += atomicOr(&hits[{own}], {a});"),
        7 => format!("if lane > {b} {{ sum += atomicLoad(&hits[{own}]); }}"),
        8 => "storageBarrier();".into(),
        9 => "workgroupBarrier();".into(),
        10 => format!("data[{element}] = {a};"),
        11 => format!("if id.x % 16 == {a} {{ data[{element}] = id.x; }}"),
        12 => format!("sum += data[{element}];"),
        _ => format!("if group.x == {b} {{ sum += data[{element}]; }}"),
    }
}

#[test]
fn atomic_operations_are_recorded_as_calls_do() {
    draw(360, 60, |seed, numbers| {
        let few = [3, 9, 40, 2][seed as usize % 4];
        let mut body = String::new();
        for _ in 0..3 + numbers.next() % 8 {
            let plain = numbers.next().is_multiple_of(few);
            body += &statement(numbers, plain);
            body += "\n";
        }
        let threads = seed.is_multiple_of(3).then_some([75 + seed as u32 % 20, 1, 1]);
        check_but_order(&body, threads)
    });
}
