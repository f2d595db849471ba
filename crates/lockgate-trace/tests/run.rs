//! Program files run on the CPU device, in every order that they allow.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{Device, DeviceDescriptor};
use lockgate_trace::{Files, NoFiles, ProgramFile, RunReport, timeline};

fn device(order: Order) -> Device {
    let backend = CpuBackend::new(&CpuDescriptor { order, ..CpuDescriptor::default() }).unwrap();
    Device::new(Box::new(backend), DeviceDescriptor { tracing: true, ..DeviceDescriptor::default() })
}

fn run(text: &str, order: Order) -> RunReport {
    let file = ProgramFile::parse("test.kdl", text, &NoFiles).unwrap_or_else(|e| panic!("{e}"));
    file.run(&device(order), &|_| {}).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs in several orders; expectations must hold in all of them.
fn check(text: &str) {
    for order in [Order::Free, Order::Recording, Order::Reverse, Order::Random(7)] {
        let report = run(text, order.clone());
        let failed: Vec<_> = report.verdicts.iter().filter(|verdict| !verdict.holds).collect();
        assert!(
            failed.is_empty() && report.findings.is_empty(),
            "{order:?}: {failed:?} {:?}",
            report.findings
        );
    }
}

#[test]
fn copies_and_fills() {
    check(
        "buffer A size=64 fill=ascending\nbuffer B size=64\nbuffer P size=64 storage=private fill=5
         queue main { command-buffer { compute-pass p {
             copy A to=B range=\"4..12\" to-offset=8
             fill B range=\"0..4\" value=1
             copy P to=B range=\"0..4\" to-offset=60 } } }
         expect { no-hazards; buffer B { starts-with 0x01010101 0 1 2 0; at 60 5 } }",
    );
}

/// Brings the kernels of a test.
struct Kernels(&'static str);

impl Files for Kernels {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Ok(self.0.into())
    }
}

const ARRAYS: &str = "enable wgpu_binding_array;
    struct Words { data: array<u32> }
    @group(0) @binding(0) var<storage, read> inputs: binding_array<Words>;
    @group(0) @binding(1) var<storage, read_write> outputs: binding_array<Words, 2>;
    @compute @workgroup_size(4) fn choose(@builtin(global_invocation_id) id: vec3u) {
        outputs[id.x % 2u].data[id.x] = inputs[id.x].data[id.x] + 1u;
    }";

fn arrays(binds: &str) -> Result<ProgramFile, String> {
    let text = format!(
        "buffer a size=16 fill=ascending; buffer b size=32 fill=7; buffer c size=16; buffer d size=16
         kernels \"arrays.wgsl\"
         queue main {{ command-buffer {{
             compute-pass one {{ fill a value=1; dispatch choose threads=4 {{ {binds} }} }}
             compute-pass two {{ copy c to=b range=\"0..4\" }} }} }}
         expect {{ no-hazards; buffer c {{ starts-with 0x01010102 0 1 }}; buffer d {{ equals 0 8 0 1 }} }}"
    );
    ProgramFile::parse("test.kdl", &text, &Kernels(ARRAYS)).map_err(|error| error.to_string())
}

#[test]
fn arrays_of_bindings() {
    let file = arrays("bind inputs a b #null; bind outputs c d").unwrap();
    for order in [Order::Free, Order::Recording, Order::Reverse, Order::Random(7)] {
        let report = file.run(&device(order.clone()), &|_| {}).unwrap_or_else(|error| panic!("{error}"));
        let failed: Vec<_> = report.verdicts.iter().filter(|verdict| !verdict.holds).collect();
        assert!(
            failed.is_empty() && report.findings.is_empty(),
            "{order:?}: {failed:?} {:?}",
            report.findings
        );
    }
    let told = arrays("bind inputs a; bind outputs c d a").unwrap_err();
    assert!(told.contains("`outputs` takes 2"), "{told}");
    let told = arrays("bind inputs a x; bind outputs c").unwrap_err();
    assert!(told.contains('x'), "{told}");
    let told = arrays("bind inputs a").unwrap_err();
    assert!(told.contains("nothing is bound to `outputs`"), "{told}");
}

const CUBES: &str = "@group(0) @binding(0) var cubes: texture_cube_array<f32>;
    @group(0) @binding(1) var face: texture_2d<f32>;
    @group(0) @binding(2) var how: sampler;
    @group(0) @binding(3) var<storage, read_write> found: array<u32>;
    @compute @workgroup_size(1) fn look() {
        found[0] = u32(textureSampleLevel(cubes, how, vec3(0.0, 0.0, -1.0), 1u, 0.0).x * 255.0 + 0.5);
        found[1] = u32(textureLoad(face, vec2(0), 0).x * 255.0 + 0.5);
        found[2] = textureNumLayers(cubes);
    }";

fn cubes(sky: &str, face: &str) -> Result<ProgramFile, String> {
    let text = format!(
        "texture sky width=2 height=2 {sky}; texture again like=sky; sampler how
         buffer five size=16 fill=0x05050505; buffer nine size=16 fill=0x09090909; buffer found size=\"again.slices\"
         kernels \"cubes.wgsl\"
         queue main {{ command-buffer {{ compute-pass p {{
             copy five to=sky to-slice=11; copy nine to=sky to-slice=4
             copy sky to=again from-slice=11 to-slice=11; copy sky to=again from-slice=4 to-slice=4
             dispatch look threadgroups=1 {{ bind cubes again; bind face again {face} }} }} }} }}
         expect {{ no-hazards; buffer found {{ equals 5 9 2 }} }}"
    );
    ProgramFile::parse("test.kdl", &text, &Kernels(CUBES)).map_err(|error| error.to_string())
}

#[test]
fn arrays_of_cubes() {
    let file = cubes("type=cube-array slices=12", "slice=4").unwrap();
    for order in [Order::Free, Order::Reverse, Order::Adversary(3)] {
        let report = file.run(&device(order.clone()), &|_| {}).unwrap_or_else(|error| panic!("{error}"));
        let failed: Vec<_> = report.verdicts.iter().filter(|verdict| !verdict.holds).collect();
        assert!(failed.is_empty(), "{order:?}: {failed:?}");
    }
    let told = cubes("type=cube-array slices=12", "").unwrap_err();
    assert!(told.contains("`face` of the kernel is a 2d texture"), "{told}");
    let told = cubes("type=\"2d-array\" slices=12", "slice=4").unwrap_err();
    assert!(told.contains("`cubes` of the kernel is a cube-array texture"), "{told}");
    let told = cubes("type=cube-array slices=13", "slice=4").unwrap_err();
    assert!(told.contains("cubes have six slices each"), "{told}");
    let told = cubes("type=cube slices=12", "slice=4").unwrap_err();
    assert!(told.contains("only a 2d-array or a cube-array has several pictures"), "{told}");
    assert!(cubes("type=cube-array", "slice=4").unwrap_err().contains("slice"), "there is one cube");
}

#[test]
fn heaps_fences_and_events() {
    check(
        "heap H size=256 ; fence f ; event e
         buffer in size=256 fill=3 ; buffer out size=256
         queue a { command-buffer { compute-pass one {
             allocate x heap=H size=256
             copy in to=x
             update-fence f
             make-aliasable x } } }
         queue a { command-buffer { compute-pass two {
             wait-for-fence f
             allocate y heap=H size=256
             fill y value=9
             update-fence f } } ; signal e value=1 }
         queue b { wait e value=1 ; command-buffer { compute-pass three { copy y to=out } } }
         expect { no-hazards; ordered one.copy two.fill; ordered two.fill three.copy
             buffer out { starts-with 0x09090909 } }",
    );
}

#[test]
fn the_host_takes_part() {
    check(
        "buffer A size=16 ; buffer B size=16 ; shared-event s
         queue q { wait s value=1 ; command-buffer go { compute-pass p { copy A to=B } } ; signal s value=2 }
         host { write A fill=4 ; signal s value=1 ; wait s value=2 ; read B }
         expect { buffer B { equals 4 4 4 4 } }",
    );
}

#[test]
fn stand_ins_show_the_order() {
    let text = |barrier| {
        format!(
            "buffer A size=64 fill=random tracking=untracked
             queue q {{ command-buffer {{ compute-pass p {{
                 dispatch first {{ reads-writes A }}
                 {barrier}
                 dispatch second {{ reads-writes A }} }} }} }}
             output o \"none.png\" from=shown
             buffer copied size=64 ; texture shown width=4 height=4
             queue q {{ command-buffer {{ compute-pass show {{
                 consumer-barrier
                 copy A to=shown }} }} }}"
        )
    };
    let picture = |barrier, order| run(&text(barrier), order).outputs.remove(0).bytes;
    let ordered = "intrapass-barrier after=dispatch before=dispatch";
    assert_eq!(picture(ordered, Order::Recording), picture(ordered, Order::Reverse));
    assert_ne!(picture("", Order::Recording), picture("", Order::Reverse));
    assert!(!run(&text(""), Order::Recording).findings.is_empty());
}

#[test]
fn what_devices_cannot_run_is_refused_by_name() {
    let text = "texture T width=4 height=4
        queue q { command-buffer { render-pass r { attachment T load=clear ; draw d { vertex { reads T } } } } }";
    let file = ProgramFile::parse("test.kdl", text, &NoFiles).unwrap();
    let refused = file.run(&device(Order::Free), &|_| {}).unwrap_err();
    assert_eq!(refused.to_string(), "devices cannot run render passes yet");
}

#[test]
fn timelines_name_reasons() {
    let report = run(
        "fence f ; buffer A size=64 tracking=untracked ; buffer B size=64
         queue q { command-buffer { compute-pass one { fill A value=1 ; update-fence f }
             compute-pass two { wait-for-fence f ; copy A to=B }
             compute-pass three { copy B to=A range=\"0..4\" to-offset=32 } } }",
        Order::Recording,
    );
    let reasons: Vec<&str> = report.timeline.orders.iter().map(|order| order.reason.as_str()).collect();
    assert_eq!(reasons, ["fence f", "tracked B"]);
    let page = timeline::html(&report.timeline);
    assert!(page.contains("fence f") && !page.contains("{{DATA}}"));
    assert!(timeline::perfetto(&report.timeline).contains("\"tracked B\""));
    assert!(timeline::ascii(&report.timeline, 80).lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn labels_cannot_become_markup() {
    let report = run(
        "buffer A size=4\nqueue \"</script><b>\" { command-buffer { compute-pass \"<i>&\" { fill A } } }",
        Order::Recording,
    );
    let page = timeline::html(&report.timeline);
    assert!(!page.contains("</script><b>") && !page.contains("<i>"));
}
