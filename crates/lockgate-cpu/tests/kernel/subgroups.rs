//! Subgroups: what four neighbours compute together, also when some of them are elsewhere.

use crate::harness::{Case, Numbers, to_u32s, u32s};

/// Runs a body that computes `r` from `x` (a random word), `i` (the invocation), `lane` and `u` (the same for all), in
/// workgroups of a size.
fn check_sized(size: &str, count: u32, threads: Option<[u32; 3]>, body: &str) -> Vec<u32> {
    let source = format!(
        "@group(0) @binding(0) var<storage, read> xs: array<u32>;
        @group(0) @binding(1) var<storage, read_write> rs: array<u32>;
        @group(0) @binding(2) var<uniform> u: u32;
        var<workgroup> words: array<u32, 64>;
        @compute @workgroup_size({size}) fn main(@builtin(workgroup_id) group: vec3<u32>,
            @builtin(local_invocation_index) l: u32, @builtin(subgroup_size) size: u32,
            @builtin(num_subgroups) subgroups: u32) {{
            let lane = l % size;
            let i = group.x * {count}u + l;
            let x = xs[i];
            var r = u - 4u;
            {body}
            rs[i] = r;
        }}"
    );
    let mut numbers = Numbers(977);
    let words = 3 * count;
    let xs = (0..words).map(|i| if i < 8 { i + 1 } else { numbers.next() % 1000 });
    let buffers = vec![u32s(xs), vec![0xEE; 4 * words as usize], u32s([5])];
    let case = Case { threads, subgroups_of_four: true, ..Case::new(&source, [3, 1, 1], buffers) };
    to_u32s(&case.run()[1])
}

fn check(body: &str) -> Vec<u32> {
    check_sized("16", 16, None, body)
}

#[test]
fn reductions_and_scans() {
    assert_eq!(check("r = subgroupAdd(x);")[..8], [10, 10, 10, 10, 26, 26, 26, 26]);
    assert_eq!(check("r = subgroupMul(x);")[..5], [24, 24, 24, 24, 1680]);
    assert_eq!(check("r = subgroupMin(x);")[3..5], [1, 5]);
    assert_eq!(check("r = subgroupMax(x);")[3..5], [4, 8]);
    assert_eq!(check("r = subgroupAnd(x | 8u);")[..1], [8]);
    assert_eq!(check("r = subgroupOr(x);")[..1], [7]);
    assert_eq!(check("r = subgroupXor(x);")[..1], [4]);
    assert_eq!(check("r = subgroupInclusiveAdd(x);")[..8], [1, 3, 6, 10, 5, 11, 18, 26]);
    assert_eq!(check("r = subgroupExclusiveAdd(x);")[..8], [0, 1, 3, 6, 0, 5, 11, 18]);
    assert_eq!(check("r = subgroupInclusiveMul(x);")[..5], [1, 2, 6, 24, 5]);
    assert_eq!(check("r = subgroupExclusiveMul(x);")[..5], [1, 1, 2, 6, 1]);
    check(
        "r = u32(subgroupAdd(i32(x) - 400)) + u32(subgroupMin(i32(x) - 400)) * u32(subgroupMax(i32(x) - 400));",
    );
    check(
        "let f = f32(x) * 0.37; r = bitcast<u32>(subgroupAdd(f) + subgroupInclusiveMul(f) - subgroupExclusiveAdd(f));",
    );
    check(
        "let f = vec3(f32(x), -f32(i), 0.5); let g = subgroupMax(f) - subgroupMin(f) + subgroupAdd(f); r = bitcast<u32>(g.x + g.y * g.z);",
    );
}

#[test]
fn votes_and_ballots() {
    assert_eq!(check("r = subgroupBallot(x % 2u == 0u).x;")[..2], [0b1010, 0b1010]);
    assert_eq!(check("r = subgroupBallot().x + subgroupBallot().y;")[..1], [15]);
    assert_eq!(check("r = u32(subgroupAny(x == 3u)) + 2u * u32(subgroupAll(x < 5u));")[..5], [3, 3, 3, 3, 0]);
    assert_eq!(check("if (x % 2u == 0u) { r = subgroupBallot().x; }")[..4], [1, 0b1010, 1, 0b1010]);
    check("if (x > 300u) { r = u32(subgroupAll(x > 300u)) + subgroupBallot(x > 500u).x * 4u; }");
}

#[test]
fn values_of_others() {
    assert_eq!(check("r = subgroupBroadcast(x, 2u);")[..5], [3, 3, 3, 3, 7]);
    assert_eq!(check("r = subgroupBroadcastFirst(x);")[..5], [1, 1, 1, 1, 5]);
    assert_eq!(check("r = subgroupShuffle(x, 3u - lane);")[..4], [4, 3, 2, 1]);
    assert_eq!(check("r = subgroupShuffleXor(x, 1u);")[..4], [2, 1, 4, 3]);
    // From beyond the subgroup comes zero.
    assert_eq!(check("r = subgroupShuffleDown(x, 1u);")[..4], [2, 3, 4, 0]);
    assert_eq!(check("r = subgroupShuffleUp(x, 1u);")[..4], [0, 1, 2, 3]);
    assert_eq!(check("r = subgroupShuffle(x, x);")[..4], [2, 3, 4, 0]);
    assert_eq!(check("r = quadBroadcast(x, 1u);")[..5], [2, 2, 2, 2, 6]);
    assert_eq!(check("r = quadSwapX(x);")[..4], [2, 1, 4, 3]);
    assert_eq!(check("r = quadSwapY(x);")[..4], [3, 4, 1, 2]);
    assert_eq!(check("r = quadSwapDiagonal(x);")[..4], [4, 3, 2, 1]);
    check("let v = subgroupShuffle(vec4(x, i, l, 7u), (x + lane) % 4u); r = v.x * 3u + v.y + v.z + v.w;");
    check("let f = subgroupShuffleUp(f32(x) * 0.5, x % 3u); r = bitcast<u32>(f);");
    check(
        "let h = vec2<bool>(x > 300u, x > 600u); r = u32(subgroupShuffle(u32(h.x) + 2u * u32(h.y), x % 4u));",
    );
    check(
        "r = subgroupShuffle(x, 0xFFFFFFFFu) + subgroupShuffleDown(x, 64u) + subgroupShuffle(x, 0x40000001u);",
    );
}

#[test]
fn those_elsewhere_take_no_part() {
    let got = check("if (lane > 0u) { r = subgroupBroadcastFirst(x); } else { r = subgroupAdd(100u); }");
    assert_eq!(got[..5], [100, 2, 2, 2, 100]);
    let got = check("if (x % 2u == 0u) { r = subgroupAdd(x); } else { r = subgroupMax(x); }");
    assert_eq!(got[..4], [3, 6, 3, 6]);
    check("if (x > 300u) { r = subgroupShuffle(x, (lane + 1u) % 4u); }");
    check("if (x > 300u) { return; } r = subgroupInclusiveAdd(x) + subgroupExclusiveMul(x);");
    check("for (var k = 0u; k < x % 5u; k++) { r += subgroupAdd(k + l); }");
    check(
        "for (var k = 0u; k < u; k++) { if (k == x % 4u) { continue; } r += subgroupBallot(x > 100u * k).x; if (k > x % 7u) { break; } }",
    );
    check(
        "loop { if (x % 4u == r) { break; } r += 1u; if (r > 6u) { break; } r += subgroupMin(lane) + subgroupAdd(1u); }",
    );
    check(
        "switch x % 3u { case 0u: { r = subgroupAdd(x); } case 1u: { r = subgroupMax(x); } default: { r = subgroupBallot().x; } }",
    );
    check(
        "if (x > 200u) { if (x < 700u) { r = subgroupAdd(x); } r += subgroupXor(r); } r = subgroupShuffleXor(r, 3u);",
    );
    check("if (u == 5u) { r = subgroupAdd(x); } if (u == 6u) { r = subgroupMul(x); }");
}

#[test]
fn wide_and_half_values() {
    check(
        "let w = u64(x) * 3000000000lu; r = u32(subgroupAdd(w) >> 32u) + u32(subgroupExclusiveAdd(w) >> 20u);",
    );
    check(
        "let w = i64(x) - 400li; if (x > 200u) { r = u32(subgroupMin(w) + subgroupMax(w)) + u32(subgroupShuffle(w, x % 5u)); }",
    );
    check(
        "let w = f64(x) * 0.1lf; var sum = subgroupInclusiveAdd(w); if (lane > 1u) { sum = subgroupMul(w); } r = u32(sum);",
    );
    check(
        "let w = i64(x); r = u32(subgroupBroadcast(w, 1u)) + u32(subgroupXor(w)) + u32(w == subgroupBroadcastFirst(w));",
    );
    check(
        "var w = f64(x); for (var k = 0u; k < x % 4u; k++) { w = w * 1.5lf + f64(lane); } r = u32(subgroupAdd(w));",
    );
    check(
        "var list = array<u64, 3>(u64(x), u64(i), 7lu); list[x % 3u] += 5lu; r = u32(subgroupAdd(list[lane % 3u]));",
    );
}

#[test]
fn subgroups_of_any_workgroup() {
    let body = "r = subgroupAdd(x) + 1000u * subgroupBallot().x + 100000u * subgroups;";
    for (size, count) in [("6", 6), ("1", 1), ("3, 3", 9), ("4, 2, 2", 16), ("5, 2, 3", 30), ("12", 12)] {
        let got = check_sized(size, count, None, body);
        assert_eq!(got.len(), 3 * count as usize);
        for (k, chunk) in got.chunks(count as usize).enumerate() {
            let lanes = (0..count).map(|l| (1u32 << (count - l / 4 * 4).min(4)) - 1);
            for (l, (got, bits)) in chunk.iter().zip(lanes).enumerate() {
                assert_eq!(got / 100000, count.div_ceil(4), "{size} {k} {l}");
                assert!((got % 100000).wrapping_sub(1000 * bits) < 4000, "{size} {k} {l}: {got}");
            }
        }
    }
    let ids = "@group(0) @binding(0) var<storage, read_write> rs: array<vec4<u32>>;
        @compute @workgroup_size(7) fn main(@builtin(global_invocation_id) id: vec3<u32>,
            @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
            @builtin(local_invocation_id) local: vec3<u32>) {
            rs[id.x] = vec4(subgroup, lane, local.x, subgroupAdd(lane));
        }";
    let case = Case { subgroups_of_four: true, ..Case::new(ids, [2, 1, 1], vec![vec![0; 16 * 14]]) };
    let got = to_u32s(&case.run()[0]);
    for (i, row) in got.chunks(4).enumerate() {
        let l = i as u32 % 7;
        assert_eq!(row, [l / 4, l % 4, l, if l < 4 { 6 } else { 3 }]);
    }
}

#[test]
fn parts_of_workgroups_and_barriers() {
    // Invocations that a launch does not have are in no subgroup.
    let body = "r = subgroupAdd(1u) + 16u * subgroupBallot().x;";
    let got = check_sized("8", 8, Some([21, 1, 1]), body);
    assert_eq!(got[16..22], [4 + 240, 4 + 240, 4 + 240, 4 + 240, 1 + 16, 0xEEEE_EEEE]);
    check_sized("6, 2", 12, Some([13, 1, 1]), body);
    let exchange = "words[l] = subgroupAdd(x) * (lane + 1u); workgroupBarrier();
        var w = u64(words[15u - l]); workgroupBarrier();
        words[l] = subgroupShuffleXor(x, 2u); workgroupBarrier();
        r = words[(l * 5u) % 16u] + u32(subgroupInclusiveAdd(w));";
    check(exchange);
    check_sized("13", 13, None, &exchange.replace("15u", "12u").replace("16u", "13u"));
    check("words[l] = x; subgroupBarrier(); r = words[l ^ 1u]; subgroupBarrier(); words[l] = r;");
    check(
        "for (var k = 0u; k < u; k++) { words[l] = r + x; workgroupBarrier(); r = subgroupAdd(words[(l + k) % 16u]); workgroupBarrier(); }",
    );
}
