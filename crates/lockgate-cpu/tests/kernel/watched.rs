//! Machine code that looks at cells itself records what it records if it tells each access: places, races with lines,
//! invocations and counts, reads of nothing, and bytes. The interpreter finds races in the same kernels, and where there are
//! none it records the same, index by index.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    Binding, BufferBinding, Engine, Kernel, KernelDescriptor, Lanes, Launch, Outcome, watch::Recorder,
};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::harness::{Numbers, draw, gist};

const LANES: u64 = 16;

/// How much is launched, and what is bound.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) groups: u32,
    pub(crate) words: usize,
    pub(crate) threads: Option<[u32; 3]>,
}

const SMALL: Size = Size { groups: 6, words: 512, threads: None };

/// What nothing in a launch writes.
const STILL: [u32; 8] = [70, 48, 96, 5, 0, 16, 33, 1];

/// All bindings are the same memory, but the last.
const HEAD: &str = "
    @group(0) @binding(0) var<storage, read_write> data: array<u32>;
    @group(0) @binding(1) var<storage, read_write> counts: array<atomic<u32>>;
    @group(0) @binding(2) var<storage, read_write> wide: array<vec4<u32>>;
    @group(0) @binding(3) var<storage, read> input: array<u32>;
    @group(0) @binding(4) var<storage, read> still: array<u32>;
    var<workgroup> tile: array<u32, 16>;
    var<workgroup> hits: array<atomic<u32>, 16>;
    @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u,
        @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
        var sum = 0u;
        if id.x > 1000 { sum += data[0] + atomicLoad(&counts[0]) + wide[0].x + input[0] + still[0]; }
";

/// An element below 16 for the tile, or anywhere.
fn element(numbers: &mut Numbers, own: bool, tile: bool) -> String {
    let (a, b) = (2 * (numbers.next() % 8) + 1, numbers.next() % 16);
    match (numbers.next() % if own { 9 } else { 8 } / if own { 8 } else { 1 }, tile) {
        (0, true) => "lane".into(),
        (0, false) => "id.x".into(),
        (1, true) => format!("(lane * {a} + {b}) % 16"),
        (1, false) => format!("id.x / 16 * 16 + (lane * {a} + {b}) % 16"),
        (2, _) => format!("{b}"),
        (3, true) => "lane ^ 1".into(),
        (3, false) => format!("id.x + {b}"),
        (4, true) => "lane / 2".into(),
        (4, false) => format!("(id.x * {a} + {b}) % 97"),
        (5, true) => format!("lane + {}", b / 8),
        (5, false) => format!("id.x * {a}"),
        (6, true) => "sum % 16 * 0".into(),
        (6, false) => format!("(id.x * id.x + {b}) % 61"),
        (_, true) => "(lane + id.x / 16) % 16".into(),
        (_, false) => format!("select(id.x, 9999 + lane, lane % 8 == {})", b / 2),
    }
}

fn statement(numbers: &mut Numbers, own: bool) -> String {
    let anywhere = element(numbers, own, false);
    let tile = element(numbers, own, true);
    match numbers.next() % if own { 15 } else { 21 } {
        0 => format!("data[{anywhere}] = id.x;"),
        1 => format!("data[{anywhere}] = 7;"),
        2 => format!("data[{anywhere}] += 1;"),
        3 => format!("sum += data[{anywhere}];"),
        4 | 5 => format!("tile[{tile}] = lane;"),
        6 => format!("tile[{tile}] += 1;"),
        7 => format!("sum += tile[{tile}];"),
        8 => "workgroupBarrier();".into(),
        9 => "storageBarrier();".into(),
        10 => "workgroupBarrier(); storageBarrier();".into(),
        11 => format!("for (var k = 0u; k < 3; k++) {{ data[128 * k + {anywhere}] = sum; }}"),
        12 => format!("if id.x % 8 != {} {{ sum += data[{anywhere}]; }}", anywhere.len() % 8),
        13 => format!("if lane > {} {{ data[{anywhere}] = sum; }}", anywhere.len() % 16),
        14 => format!("if lane < 9 {{ sum += tile[{tile}]; }} else {{ tile[{tile}] = 3; }}"),
        15 => format!("atomicAdd(&counts[{anywhere}], 1);"),
        16 => format!("sum += atomicLoad(&counts[{anywhere}]);"),
        17 => format!("wide[{anywhere}] = vec4(sum, 1, id.x, 0);"),
        18 => format!("if id.x % 3 == 1 {{ sum += wide[{anywhere}].y; }}"),
        19 => format!("atomicMax(&hits[{tile}], lane);"),
        _ => format!("sum += input[{anywhere}];"),
    }
}

/// What a record says: all, what hangs on no order, bytes, whether there are races, and which are between different values.
struct Record {
    all: String,
    gist: Vec<String>,
    bytes: Vec<String>,
    races: bool,
    differ: Vec<String>,
}

fn record(source: &str, size: Size, engine: Engine, by_calls: bool) -> Record {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{error}: {source}"));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).unwrap();
    let lanes = if engine == Engine::Jit { Lanes::Watched } else { Lanes::One };
    let (entry_point, constants) = ("main", &[]);
    let descriptor = KernelDescriptor { module: &module, info: &info, entry_point, constants, engine, lanes };
    let kernel = Kernel::new(&descriptor).unwrap();
    // Findings tell addresses, so the memory is in the same place each time.
    thread_local!(static MEMORY: std::cell::RefCell<Vec<u32>> = const { std::cell::RefCell::new(Vec::new()) });
    MEMORY.with_borrow_mut(|memory| {
        memory.clear();
        memory.resize(size.words, 0);
        let start = memory.as_mut_ptr();
        let buffer = BufferBinding { ptr: start.cast(), len: 4 * size.words as u64 };
        let mut still = STILL;
        let last = BufferBinding { ptr: still.as_mut_ptr().cast(), len: size_of_val(&still) as u64 };
        let bindings = [buffer, buffer, buffer, buffer, last].map(Binding::Buffer);
        let (grid, stop, threads) = ([size.groups, 1, 1], AtomicBool::new(false), size.threads);
        let launch = Launch { grid, threads, bindings: &bindings, immediates: &[], stop: &stop };
        // Of some bytes is known that nobody has written them.
        let (start, fresh) =
            (start as u64, if source.len().is_multiple_of(2) { 4 * (size.words as u64 - 442) } else { 0 });
        let fresh = vec![(start..start + fresh).into(); 4];
        let recorder = Recorder::new(grid, [LANES as u32, 1, 1], fresh, 4);
        let mut recorder = recorder.with_quiet(vec![false, false, false, false, true]);
        if by_calls {
            recorder = recorder.with_calls_only();
        }
        for groups in [0..2, 2..u64::from(size.groups)] {
            // SAFETY: the memory outlives the call, and nothing else uses it meanwhile.
            let outcome = unsafe { kernel.watch(&launch, groups, &mut recorder) };
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}: {source}");
        }
        recorder.finish();
        let sites = recorder.sites();
        let bytes = (0..sites.len()).map(|site| {
            format!(
                "{:?} {:?} {:?} {:?}",
                sites[site].span,
                sites[site].kind,
                sites[site].space,
                recorder.bytes(site as u16)
            )
        });
        let mut bytes: Vec<String> = bytes.collect();
        bytes.sort();
        let nothing: Vec<_> = recorder.reads_of_nothing().collect();
        let all = format!(
            "{sites:?}\n{:?}\n{nothing:?}\n{:?}\n{}",
            recorder.races(),
            recorder.out_of_range(),
            recorder.is_complete()
        );
        let (gist, races) = (gist(&recorder, &bindings), !recorder.races().is_empty());
        let differ = recorder.races().iter().filter(|race| !race.equal_values);
        let mut differ: Vec<String> = differ
            .map(|race| format!("{:?}", race.sites.map(|site| sites[usize::from(site)].span)))
            .collect();
        differ.sort();
        Record { all, gist, bytes, races, differ }
    })
}

/// Whether there are races. What is recorded is the same, but what the order of invocations may change.
pub(crate) fn check_but_order(body: &str, threads: Option<[u32; 3]>) -> bool {
    let [inline, interpreted] = both(body, Size { threads, ..SMALL });
    assert_eq!((&inline.bytes, inline.races), (&interpreted.bytes, interpreted.races), "{body}");
    inline.races
}

/// Whether there are races. All that is recorded is the same where there are none.
pub(crate) fn check_in(body: &str, threads: Option<[u32; 3]>) -> bool {
    check_of(Size { threads, ..SMALL }, body)
}

pub(crate) fn check_of(size: Size, body: &str) -> bool {
    let [inline, interpreted] = both(body, size);
    assert_eq!((&inline.bytes, inline.races), (&interpreted.bytes, interpreted.races), "{body}");
    if !inline.races {
        assert_eq!(inline.gist, interpreted.gist, "{body}");
    }
    inline.races
}

/// What machine code records, which is the same if it calls, and what the interpreter does.
fn both(body: &str, size: Size) -> [Record; 2] {
    let source = format!("{HEAD}{body}\ndata[id.x + 256] = sum; }}");
    let record = |engine, by_calls| record(&source, size, engine, by_calls);
    let (inline, calls) = (record(Engine::Jit, false), record(Engine::Jit, true));
    assert_eq!(inline.all, calls.all, "{source}");
    [inline, record(Engine::Interpreter, false)]
}

pub(crate) fn check(body: &str) -> bool {
    check_in(body, None)
}

#[test]
fn cells_in_machine_code_record_what_calls_do() {
    draw(480, 30, |seed, numbers| {
        // Own elements alone, with or without a few others.
        let strange = [0, 12, 4, 2][seed as usize % 4];
        let count = 3 + numbers.next() % 10;
        let mut body = if seed % 5 == 0 { "sum += subgroupAdd(lane);\n" } else { "" }.to_string();
        let threads = (seed % 3 == 0).then_some([75 + seed as u32 % 20, 1, 1]);
        for _ in 0..count {
            let own = strange == 0 || !numbers.next().is_multiple_of(strange);
            body += &statement(numbers, own);
            body += "\n";
        }
        check_in(&body, threads)
    });
}

#[test]
fn a_second_reader_is_known_to_the_first() {
    // The barrier lets all read before the first one writes, and orders nothing in this memory.
    let bound = |read: &str, write: &str| {
        let scattered = "data[128 + (id.x * 37) % 128] = 1;";
        format!(
            "{scattered} if {read} {{ sum += data[lane / 16 + 3]; }} workgroupBarrier(); if {write} {{ data[3] = 9; }}"
        )
    };
    let own = |read: &str, write: &str| {
        format!(
            "tile[lane] = 1; workgroupBarrier(); if {read} {{ sum += tile[3]; }} storageBarrier(); if {write} {{ tile[3] = 9; }}"
        )
    };
    assert!(check(&own("lane > 4", "lane == 5")));
    assert!(check(&own("lane > 4 && lane < 7", "lane == 5")));
    assert!(check(&own("lane > 4 && lane < 7", "lane == 6")));
    assert!(check(&own("lane == 5 || lane == 6 + id.x / 16", "id.x == 69")));
    assert!(!check(&own("lane == 5", "lane == 5")));
    assert!(check(&bound("id.x > 36", "id.x == 37")));
    assert!(check(&bound("id.x > 36 && id.x < 39", "id.x == 37")));
    assert!(check(&bound("id.x == 1 || id.x == 37", "id.x == 37")));
    assert!(!check(&bound("id.x == 37", "id.x == 37")));
}

#[test]
fn an_invocation_reads_what_it_has_written_before() {
    // A read whose run ends comes after a write whose run goes on.
    for spaces in ["", " "] {
        assert!(!check(&format!("data[id.x] = 1; if id.x % 8 != 5 {{ sum += data[id.x]; }}{spaces}")));
        assert!(!check(&format!("if id.x % 8 != 5 {{ sum += data[id.x]; }} data[id.x] = 1;{spaces}")));
        let one = "for (var k = 0u; k < 2; k++) { if k == 0 { data[id.x] = 1; } else if id.x % 8 != 5 { sum += data[id.x]; } }";
        assert!(!check(&format!("{one}{spaces}")));
        let two = "for (var k = 0u; k < 2; k++) { if k == 1 { data[id.x] = 1; } else if id.x % 8 != 5 { sum += data[id.x]; } }";
        assert!(!check(&format!("{two}{spaces}")));
    }
}

#[test]
fn the_first_workgroup_does_not_speak_for_those_that_do_otherwise() {
    for body in [
        "if id.x / 16 == 3 { tile[lane / 2] = 1; }",
        "tile[lane * (group.x + 1) % 16] = 1;",
        "var at = lane; if group.x == 2 { at = lane / 2; } tile[at] = 1;",
        "var at = lane; if group.x == 2 { at = lane / 2; } if at == 3 { tile[0] = 1; }",
        "for (var k = 0u; k < 3; k++) { if k >= group.x { break; } tile[lane / 2] = 1; }",
        "for (var k = 0u; k < group.x; k++) { tile[lane / 2] = 1; }",
        "if group.x < 5 { if id.x % 3 == 0 { data[id.x] = 1; } } else { tile[lane / 2] = 1; }",
        "tile[lane] = 1; if group.x != 4 { workgroupBarrier(); } sum += tile[lane ^ 1];",
        "sum = group.x; tile[lane] = sum; workgroupBarrier(); if tile[lane] == 2 { tile[0] = 1; }",
        "if atomicAdd(&hits[lane], group.x) + group.x == 5 { tile[0] = 1; }",
        "if subgroupAdd(group.x) == 20 { tile[0] = 1; }",
    ] {
        assert!(check(body), "{body}");
    }
}

#[test]
fn the_first_workgroup_speaks_for_those_that_do_the_same() {
    let halves = "tile[lane] = lane; workgroupBarrier();
        for (var s = 8u; s > 0; s /= 2) { if lane < s { tile[lane] += tile[lane + s]; } workgroupBarrier(); }
        if lane == 0 { data[group.x] = tile[0]; }";
    assert!(!check(halves));
    assert!(!check_in(halves, Some([90, 1, 1])));
    assert!(check(&halves.replace("lane + s", "lane + s / 2")));
    // What is wrong in the first is wrong, and counted, in all.
    assert!(!check("sum += tile[lane]; data[id.x * 2] = sum;"));
    assert!(!check("tile[lane + 3] = 1; workgroupBarrier(); sum += tile[15 - lane];"));
    assert!(check("tile[lane / 4] = lane; workgroupBarrier(); sum += tile[lane];"));
}

#[test]
fn each_says_whether_its_store_changes_something() {
    let differ = |body: &str| {
        assert!(check(body), "{body}");
        let source = format!("{HEAD}{body} }}");
        let [one, two] =
            [Engine::Jit, Engine::Interpreter].map(|engine| record(&source, SMALL, engine, false));
        assert_eq!(one.differ, two.differ, "{body}");
        !one.differ.is_empty()
    };
    // One of all brings the value.
    assert!(!differ("data[3] = 7;"));
    assert!(!differ("wide[3] = vec4(7);"));
    assert!(differ("data[3] = id.x;"));
    // The last one before the reader brings nothing new, though the first of its four does.
    let body = "if lane == 12 { sum += data[3]; } data[3] = select(id.x + 1, 1000, lane > 7);";
    let source = format!("{HEAD}{body} }}");
    assert_eq!(record(&source, SMALL, Engine::Jit, false).differ.len(), 1, "of two writes");
    // One of four changes nothing, and who reads it finds what was there.
    let store = "data[id.x] = select(7u, 0u, lane % 4 == 1);";
    assert!(!differ(&format!("{store} if lane == 9 {{ sum += data[id.x - 4]; }}")));
    assert!(differ(&format!("{store} if lane == 9 {{ sum += data[id.x - 3]; }}")));
    let store = "wide[id.x] = vec4(select(7u, 0u, lane % 4 == 1));";
    assert!(!differ(&format!("{store} if lane == 9 {{ sum += wide[id.x - 4].y; }}")));
    assert!(differ(&format!("{store} if lane == 9 {{ sum += wide[id.x - 3].y; }}")));
}

#[test]
fn what_a_workgroup_reads_once_all_of_it_read() {
    // The barrier makes the read one for the workgroup; `input` is bound to what `data` writes.
    for writer in [0, 1, 15] {
        let write = format!("if lane == {writer} {{ data[100 + group.x] = 1; }}");
        let read = "sum += input[100 + group.x];";
        assert!(check(&format!("{write} workgroupBarrier(); {read}")), "{writer}");
        assert!(check(&format!("{read} workgroupBarrier(); {write} {read}")), "{writer}");
        assert!(!check_but_order(&format!("{write} storageBarrier(); {read}"), None), "{writer}");
    }
    // The last workgroup has one invocation, or two.
    let body = "if id.x == 64 { data[100] = 1; } workgroupBarrier(); if group.x == 4 { sum += input[100]; }";
    assert!(!check_but_order(body, Some([65, 1, 1])));
    assert!(check_but_order(body, Some([66, 1, 1])));
}
