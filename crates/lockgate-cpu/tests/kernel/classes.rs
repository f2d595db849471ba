//! Workgroups whose conditions come out alike speak for each other, and for no others: each kernel has six workgroups of
//! sixteen invocations, and is recorded by machine code and by the interpreter.

use crate::{
    harness::{Numbers, draw},
    watched::{check, check_in},
};

/// Where the test of the number in the grid stands, so that the first workgroup speaks for those with all their
/// invocations below, and the last ones are of other classes.
const TESTS: [&str; 6] = [
    "id.x < 70",
    "id.x < arrayLength(&data) - 442",
    "id.x < still[0]",
    "id.x >= 0 && id.x < still[0]",
    "!(id.x >= 70 || group.x > 4)",
    "inside",
];

fn with_test(test: &str, body: &str) -> String {
    format!("let inside = id.x < 70; {}", body.replace("TEST", test))
}

#[test]
fn a_workgroup_at_the_edge_may_race_where_the_others_do_not() {
    for test in TESTS {
        let body = |own: &str| {
            let body = format!("var at = {own}; if TEST {{ at = lane; }} if at < 16 {{ tile[at] = lane; }}");
            with_test(test, &body)
        };
        assert!(check(&body("lane / 2")), "{test}");
        assert!(!check(&body("lane")), "{test}");
        let body = |own: &str| {
            with_test(test, &format!("if TEST {{ tile[lane] = id.x; }} else {{ tile[{own}] = 1; }}"))
        };
        assert!(check(&body("3")), "{test}");
        assert!(!check(&body("lane")), "{test}");
    }
}

#[test]
fn a_workgroup_at_the_edge_may_not_race_where_the_others_do() {
    for test in TESTS {
        let body = |own: &str| {
            with_test(test, &format!("if TEST {{ tile[{own}] = lane; }} else {{ tile[lane] = 1; }}"))
        };
        assert!(check(&body("lane / 2")), "{test}");
        assert!(!check(&body("lane ^ 1")), "{test}");
    }
}

#[test]
fn a_workgroup_may_read_what_it_has_not_written() {
    for test in TESTS {
        let read = "workgroupBarrier(); sum += tile[15 - lane]; data[id.x * 2] = sum;";
        // No races, so that reads of nothing are compared.
        assert!(!check(&with_test(test, &format!("if TEST {{ tile[lane] = 1; }} {read}"))));
        let both = "if TEST { tile[lane] = 1; } else { tile[lane] = 0; }";
        assert!(!check(&with_test(test, &format!("{both} {read}"))));
    }
}

#[test]
fn invocations_of_one_workgroup_may_differ() {
    // In one workgroup only some find the condition true, and neighbours change places: at an odd number a pair is parted.
    for (cut, races) in [(69, true), (70, false), (71, true), (80, false)] {
        let body = format!("if id.x < {cut} {{ tile[lane] = 1; }} else {{ tile[lane ^ 1] = 2; }}");
        assert_eq!(check(&body), races, "{body}");
    }
    // As many find it true in each workgroup, but not the same.
    let body = |other: &str| {
        format!("if (id.x + id.x / 64) % 2 == 0 {{ tile[lane] = 1; }} else {{ tile[{other}] = 2; }}")
    };
    assert!(!check(&body("lane")));
    assert!(!check(&body("15 - (lane ^ 1)").replace("tile[lane]", "tile[15 - lane ^ 1]")));
    assert!(check(&body("lane - 1 + group.x / 4 * 2")));
}

#[test]
fn conditions_that_change_are_not_taken_for_alike() {
    for (body, races) in [
        ("for (var k = 0u; k < 3; k++) { if group.x + k == 6 { tile[lane / 2] = 1; } }", true),
        ("for (var k = 0u; k < 3; k++) { if group.x + k == 16 { tile[lane / 2] = 1; } }", false),
        (
            "var on = false; for (var k = 0u; k < 3; k++) { if on { tile[lane / 2] = 1; } on = group.x == 4; }",
            true,
        ),
        (
            "var on = false; for (var k = 0u; k < 3; k++) { if on { tile[lane] = 1; } on = group.x == 4; }",
            false,
        ),
        (
            "var on = group.x == 4; for (var k = 0u; k < 3; k++) { if k == 2 { on = false; } } if on { tile[lane / 2] = 1; }",
            false,
        ),
        (
            "var on = group.x == 9; for (var k = 0u; k < 3; k++) { if k == 2 { on = group.x == 4; } } if on { tile[lane / 2] = 1; }",
            true,
        ),
        (
            "for (var k = 0u; k < 3; k++) { if group.x == 4 { break; } if k == 2 { tile[lane / 2] = 1; } }",
            true,
        ),
        (
            "for (var k = 0u; k < 3; k++) { if group.x < 9 { break; } if k == 2 { tile[lane / 2] = 1; } }",
            false,
        ),
        ("if id.x >= 70 { return; } tile[lane] = 1;", false),
        ("if id.x >= 70 { return; } tile[lane / (1 + id.x / 64)] = 1;", true),
        ("if input[lane] == 0 { tile[lane] = 1; } else { tile[0] = 1; } data[lane + 80] = 3;", true),
        ("switch group.x { case 4 { tile[lane / 2] = 1; } default { tile[lane] = 1; } }", true),
        ("switch group.x { case 4 { tile[15 - lane] = 1; } default { tile[lane] = 1; } }", false),
        ("tile[select(lane, lane / 2, id.x >= 70)] = 1;", true),
        ("tile[select(lane, 15 - lane, id.x >= 80)] = 1;", false),
    ] {
        assert_eq!(check(body), races, "{body}");
    }
}

/// A condition on the number in the grid, and now and then on others.
fn condition(numbers: &mut Numbers) -> String {
    let (a, b) = (numbers.next() % 96, numbers.next() % 8);
    match numbers.next() % 9 {
        0 => format!("id.x < {a}"),
        1 => format!("id.x < still[{b}]"),
        2 => format!("group.x == {b}"),
        3 => format!("id.x >= {a} && id.x < still[{b}]"),
        4 => format!("lane < {b} || group.x > {b}"),
        5 => format!("id.x + 7 > arrayLength(&data) - {a} - 400"),
        6 => format!("(id.x * {b}) % 16 < {b}"),
        7 => "still[id.x % 8] > 40".into(),
        _ => format!("sum > {b}"),
    }
}

fn statement(numbers: &mut Numbers, depth: usize) -> String {
    let a = numbers.next() % 16;
    let element = match numbers.next() % 5 {
        0 => format!("{a}"),
        1 => format!("(lane + {a}) % 16"),
        2 if depth > 0 => format!("lane ^ {a}"),
        _ => "lane".into(),
    };
    match numbers.next() % if depth > 0 { 12 } else { 7 } {
        0 | 1 => format!("tile[{element}] = id.x;"),
        2 => format!("sum += tile[{element}];"),
        3 => format!("data[id.x] = {a};"),
        4 => format!("at = {element};"),
        5 => "tile[at] = 3;".into(),
        6 => format!("on = {};", condition(numbers)),
        7 => "workgroupBarrier();".into(),
        8 => format!("for (var k = 0u; k < 3; k++) {{ {} }}", statement(numbers, 0)),
        9 => format!("if on {{ {} }} else {{ {} }}", statement(numbers, 0), statement(numbers, 0)),
        _ => format!("if {} {{ {} }}", condition(numbers), statement(numbers, 0)),
    }
}

#[test]
fn classes_record_what_all_workgroups_do() {
    draw(360, 60, |seed, numbers| {
        let mut body = String::from("var at = lane; var on = false;\n");
        for _ in 0..2 + numbers.next() % 6 {
            body += &statement(numbers, 1);
            body += if numbers.next().is_multiple_of(3) { "\n" } else { "\nworkgroupBarrier();\n" };
        }
        let threads = seed.is_multiple_of(5).then_some([75 + seed as u32 % 20, 1, 1]);
        check_in(&body, threads)
    });
}
