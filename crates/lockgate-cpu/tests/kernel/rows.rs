//! Runs that end after a few invocations: from then on four cells are looked at at once, and what is recorded is what
//! calls record.

use crate::{
    harness::{Numbers, draw},
    watched::{Size, check_of},
};

const SIZE: Size = Size { groups: 24, words: 2048, threads: None };

fn check(body: &str) -> bool {
    check_of(SIZE, body)
}

/// An element that goes on by one within rows of so many.
fn row(width: u32, start: u32) -> String {
    format!("{start} + id.x / {width} * {} + id.x % {width}", width + 1 + width % 3)
}

#[test]
fn neighbours_race_with_who_is_far() {
    for width in [4, 8, 16] {
        let at = row(width, 704);
        // Each keeps to its own, and one late comes across.
        let body = |first: &str, then: &str| format!("let at = {at}; {first} if id.x == 370 {{ {then} }}");
        for (first, then, races) in [
            ("data[at] += 1;", "data[at] = 7;", false),
            ("data[at] += 1;", "data[at - 2] = 7;", true),
            ("data[at] += 1;", "sum += data[at - 2];", true),
            ("data[at] = id.x;", "sum += data[at - 2];", true),
            ("data[at] = id.x; sum += data[at]; data[at] = 3;", "sum += data[at];", false),
            ("data[at] = id.x; storageBarrier(); sum += data[at];", "data[at] = 3;", false),
            ("sum += data[at];", "sum += data[at - 2];", false),
            ("sum += data[at];", "data[at - 2] = 3;", true),
            ("sum += data[at]; sum += data[at];", "data[at - 2] = 3;", true),
        ] {
            assert_eq!(check(&body(first, then)), races, "{width}: {first} {then}");
        }
    }
}

#[test]
fn rows_may_overlap() {
    for width in [4, 8, 16] {
        let at = row(width, 704);
        // A barrier orders those of one workgroup, and no others.
        let behind = |apart: u32| {
            let other = at.replace("id.x", &format!("(id.x - {apart})"));
            format!("data[{at}] = id.x; storageBarrier(); if id.x == 370 {{ data[{other}] += 3; }}")
        };
        assert!(!check(&behind(2)));
        assert!(check(&behind(40)));
        assert!(check(&format!("let at = {at}; data[at] = id.x; data[at + 1] = 3;")));
        assert!(check(&format!("let at = {at}; sum += data[at + 1]; data[at] = 3;")));
        assert!(!check(&format!("let at = {at}; sum += data[at + 1]; sum += data[at];")));
    }
    // The same rows in each workgroup.
    assert!(check("data[704 + lane / 4 * 9 + lane % 4] = id.x;"));
    assert!(!check("sum += data[704 + lane / 4 * 9 + lane % 4];"));
}

fn statement(numbers: &mut Numbers, strange: u32) -> String {
    let width = [4, 8, 16][(numbers.next() % 3) as usize];
    let start = [0, 3, 704, 704, 705, 1900][(numbers.next() % if strange > 20 { 4 } else { 6 }) as usize];
    let at = row(width, start);
    let (a, b) = (numbers.next() % 384, numbers.next() % 16);
    match numbers.next() % if numbers.next().is_multiple_of(strange) { 14 } else { 7 } {
        0 => format!("data[{at}] = id.x;"),
        1 => format!("data[{at}] += 1;"),
        2 => format!("sum += data[{at}];"),
        3 => format!("wide[{} + id.x / 8 * 9 + id.x % 8] = vec4(id.x, sum, 1, 2);", b / 4 + 60),
        4 => format!("sum += wide[{} + id.x / 8 * 9 + id.x % 8].z;", b / 4 + 60),
        5 => "storageBarrier();".into(),
        6 => format!("data[{at}] = 7;"),
        7 => format!("if id.x == {a} {{ data[{at} + {b}] = 1; }}"),
        8 => format!("if id.x > {a} {{ sum += data[{at}]; }}"),
        9 => format!("for (var k = 0u; k < 2; k++) {{ data[{at}] += k; }}"),
        10 => format!("data[select({at}, {a}, lane == {b})] = 2;"),
        11 => format!("data[{at}] = select(0u, 7u, lane > {b});"),
        12 => "workgroupBarrier();".into(),
        _ => format!("sum += data[{at} + {b}];"),
    }
}

#[test]
fn rows_are_recorded_as_calls_do() {
    draw(160, 20, |seed, numbers| {
        let strange = [100, 5, 40, 2][seed as usize % 4];
        let mut body = String::new();
        for _ in 0..1 + numbers.next() % 4 {
            body += &statement(numbers, strange);
            body += "\n";
        }
        let threads = seed.is_multiple_of(3).then_some([350 + seed as u32 % 30, 1, 1]);
        check_of(Size { threads, ..SIZE }, &body)
    });
}
