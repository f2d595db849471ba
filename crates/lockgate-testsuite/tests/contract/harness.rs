//! Runs the cases of the CPU device's own tests on every Vulkan driver, and compares with the interpreter; those tests compare
//! machine code with it, so all three are the same. What is no part of WGSL's core and a driver lacks is skipped with a line.

use crate::accuracy;
pub(crate) use crate::case::*;
use crate::subjects::{Opened, Subject, run_pass, subjects};
use lockgate_cpu::kernel::Engine;
use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;
use std::sync::{Mutex, OnceLock};

/// Words of a source that needs more than the core of WGSL.
const EXTRAS: &[&str] = &["enable ", "subgroup", "quad", "f64", "u64", "i64", "atomic<f32>"];

/// Parts of drivers' names and of sources, and why the results are not those of the CPU device.
const KNOWN_DIFFERENCES: &[(&str, &str, &str)] = &[
    ("nvidia", "u64(f32(a))", "the driver fills the low word of what it converts"),
    ("nvidia", "textureSampleGrad(cube", "which level a gradient on a cube asks for is its own"),
    ("swiftshader", "// Across edges.", "what lies across the edge of a cube is there for draws alone"),
    ("swiftshader", "textureSampleGrad(cube", "it takes the longest axis of a gradient, wherever it leads"),
    ("swiftshader", "subgroupShuffle", "what comes from beyond a subgroup is for the device to choose"),
];

/// A driver, open as long as the tests run. One test at a time has it, so that messages are those of its kernel.
pub(crate) struct Driver {
    pub(crate) name: String,
    opened: Mutex<Opened>,
    subgroup_size: OnceLock<Option<u32>>,
}

impl Driver {
    /// Runs something on the device; the validation layer may have nothing to say about it.
    pub(crate) fn run<T>(&self, what: &str, run: impl FnOnce(&Device) -> T) -> T {
        let opened = self.opened.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let result = run(&opened.device);
        let messages = opened.messages();
        assert!(
            messages.is_empty(),
            "{}: the validation layer says:\n{}\n{what}",
            self.name,
            messages.join("\n")
        );
        result
    }

    /// How many invocations its subgroups have, if it has subgroups.
    fn subgroup_size(&self) -> Option<u32> {
        let source = "@group(0) @binding(0) var<storage, read_write> sizes: array<u32>;
            @compute @workgroup_size(16) fn main(@builtin(subgroup_size) size: u32) { sizes[0] = size; }";
        let case = Case::new(source, [1, 1, 1], vec![vec![0; 4]]);
        *self
            .subgroup_size
            .get_or_init(|| Some(to_u32s(&self.run(source, |device| case.run_on(device)).ok()?[0])[0]))
    }

    /// Why its results differ from those of the CPU device, if that is known.
    pub(crate) fn known_difference(&self, source: &str) -> Option<&'static str> {
        let known =
            |(driver, part, _): &&(&str, &str, &str)| self.name.contains(driver) && source.contains(part);
        KNOWN_DIFFERENCES.iter().find(known).map(|(_, _, why)| *why)
    }
}

/// All drivers of the machine.
pub(crate) fn drivers() -> &'static [Driver] {
    static DRIVERS: OnceLock<Vec<Driver>> = OnceLock::new();
    DRIVERS.get_or_init(|| {
        let whole = subjects().into_iter().filter(|subject| matches!(subject, Subject::Vulkan(_, 0)));
        let open = |subject: Subject| Driver {
            name: subject.to_string(),
            opened: Mutex::new(subject.open(DeviceDescriptor::default())),
            subgroup_size: OnceLock::new(),
        };
        whole.map(open).collect()
    })
}

/// The device that says what is right.
pub(crate) fn reference() -> Device {
    let cpu = CpuDescriptor { engine: Engine::Interpreter, ..Default::default() };
    Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), DeviceDescriptor::default())
}

impl Case<'_> {
    /// Runs on all devices and gives what the CPU device leaves behind.
    pub(crate) fn run(&self) -> Vec<Vec<u8>> {
        let expected = self.run_on(&reference()).unwrap_or_else(|why| panic!("{why}: {}", self.source));
        for driver in drivers().iter().filter(|_| !self.races) {
            if self.subgroups_of_four && driver.subgroup_size() != Some(4) {
                eprintln!("skipped: {}: its subgroups are not of four", driver.name);
                continue;
            }
            match driver.run(self.source, |device| self.run_on(device)) {
                Ok(got) => self.compare(driver, &got, &expected),
                Err(why) if why.kind() == ErrorKind::Unsupported && self.needs_extras() => {
                    eprintln!("skipped: {}: {why}", driver.name);
                }
                Err(why) => panic!("{}: {why}: {}", driver.name, self.source),
            }
        }
        expected
    }

    fn needs_extras(&self) -> bool {
        EXTRAS.iter().any(|word| self.source.contains(word))
    }

    fn compare(&self, driver: &Driver, got: &[Vec<u8>], expected: &[Vec<u8>]) {
        let differences = accuracy::differences(self, got, expected);
        match driver.known_difference(self.source) {
            _ if differences.is_empty() => {}
            Some(why) => eprintln!("differs: {}: {why}", driver.name),
            None => panic!("{}: {}\n{}", driver.name, differences.join("\n"), self.source),
        }
    }

    fn run_on(&self, device: &Device) -> Result<Vec<Vec<u8>>> {
        let library = device.new_library(self.source)?;
        let pipeline = device.new_compute_pipeline_with_constants(&library, self.entry, &self.constants)?;
        let table = device.new_argument_table();
        let mut buffers = Vec::new();
        for (binding, bytes) in pipeline.reflection().bindings.iter().zip(&self.buffers) {
            let buffer = device.new_buffer_with_data(bytes)?;
            table.set_buffer(binding.name.as_str(), &buffer);
            buffers.push(buffer);
        }
        run_pass(device, |encoder| {
            encoder.set_compute_pipeline(&pipeline);
            encoder.set_argument_table(&table);
            encoder.set_immediates(&self.immediates);
            match self.threads {
                None => encoder.dispatch_threadgroups(self.grid),
                Some(threads) => {
                    let size = pipeline.reflection().workgroup_size;
                    let most = |axis: usize| threads[axis].min(self.grid[axis] * size[axis]);
                    encoder.dispatch_threads(std::array::from_fn(most));
                }
            }
        })?;
        buffers.iter().zip(&self.buffers).map(|(buffer, bytes)| buffer.read(0, bytes.len())).collect()
    }
}
