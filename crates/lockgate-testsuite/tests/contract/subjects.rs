//! The devices that the suite runs on: the CPU device in several orders, and every Vulkan driver of the machine, under
//! the validation layer where that is installed.
//!
//! A device that is absent is skipped with a line that says so; where `CI` is set it may not be absent.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{CommitFeedback, ComputeCommandEncoder, Device, DeviceDescriptor, Result};
use lockgate_vulkan::{Validation, ValidationMessages, VulkanBackend, VulkanDescriptor, adapters};
use std::fmt;

/// What the validation layer says and that is no mistake of ours, with the reason.
const KNOWN_MESSAGES: &[(&str, &str)] = &[];

/// A device that is tested.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subject {
    Cpu(Order),
    /// A part of a driver's name, and the most hardware queues to use.
    Vulkan(String, usize),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Cpu(order) => write!(f, "cpu {order:?}"),
            Subject::Vulkan(name, 0) => write!(f, "vulkan {name}"),
            Subject::Vulkan(name, queues) => write!(f, "vulkan {name}, at most {queues} queues"),
        }
    }
}

/// All devices of the machine.
pub(crate) fn subjects() -> Vec<Subject> {
    let orders = [Order::Free, Order::Recording, Order::Reverse, Order::Random(7)];
    let mut subjects: Vec<Subject> = orders.into_iter().map(Subject::Cpu).collect();
    let ci = std::env::var_os("CI").is_some();
    let mut drivers = 0;
    for adapter in adapters() {
        match adapter.usable {
            Ok(()) => {
                drivers += 1;
                subjects.push(Subject::Vulkan(adapter.name.clone(), 0));
                subjects.push(Subject::Vulkan(adapter.name, 1));
            }
            Err(why) => eprintln!("skipped: {}: {why}", adapter.name),
        }
    }
    assert!(drivers > 0 || !ci, "no Vulkan driver is installed");
    subjects
}

/// An open device, and what the validation layer says about it.
pub(crate) struct Opened {
    pub(crate) device: Device,
    messages: Option<ValidationMessages>,
}

impl Opened {
    /// Whether the validation layer looks at it.
    pub(crate) fn is_validated(&self) -> bool {
        self.messages.is_some()
    }

    /// What the validation layer has said since the last call.
    pub(crate) fn messages(&self) -> Vec<String> {
        taken(self.messages.as_ref())
    }
}

fn taken(messages: Option<&ValidationMessages>) -> Vec<String> {
    let mut messages = messages.map(ValidationMessages::take).unwrap_or_default();
    messages.retain(|message| !KNOWN_MESSAGES.iter().any(|(known, _)| message.contains(known)));
    messages
}

impl Subject {
    /// A new device of this kind.
    pub(crate) fn open(&self, descriptor: DeviceDescriptor) -> Opened {
        eprintln!("{self}");
        match self {
            Subject::Cpu(order) => {
                let cpu = CpuDescriptor { order: order.clone(), ..Default::default() };
                let device = Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), descriptor);
                Opened { device, messages: None }
            }
            Subject::Vulkan(name, queues) => {
                let mut vulkan = VulkanDescriptor {
                    adapter: Some(name.clone()),
                    queues: *queues,
                    // Both ways to descriptors are tested, and the older layers see one of them only.
                    descriptor_sets: *queues == 1,
                    validation: Validation::Synchronization,
                    ..Default::default()
                };
                let backend = VulkanBackend::open(&vulkan).unwrap_or_else(|why| {
                    assert!(std::env::var_os("CI").is_none(), "{why}");
                    eprintln!("not validated: {why}");
                    vulkan.validation = Validation::Off;
                    VulkanBackend::open(&vulkan).unwrap()
                });
                let messages = (vulkan.validation != Validation::Off).then(|| backend.validation_messages());
                Opened { device: Device::new(Box::new(backend), descriptor), messages }
            }
        }
    }

    /// Runs a test on a new device and fails if the validation layer has anything to say.
    pub(crate) fn run(&self, descriptor: DeviceDescriptor, test: impl FnOnce(&Device)) {
        let Opened { device, messages } = self.open(descriptor);
        test(&device);
        drop(device);
        let messages = taken(messages.as_ref());
        assert!(messages.is_empty(), "{self}: the validation layer says:\n{}", messages.join("\n"));
    }
}

/// Runs one pass and waits for it.
pub(crate) fn run_pass(
    device: &Device,
    encode: impl FnOnce(&mut ComputeCommandEncoder<'_>),
) -> Result<CommitFeedback> {
    let queue = device.new_command_queue(&Default::default())?;
    let allocator = device.new_command_allocator("");
    let mut commands = device.new_command_buffer("");
    commands.begin(&allocator);
    encode(&mut commands.compute_command_encoder(""));
    commands.end()?;
    queue.commit(&[&commands])?.wait_until_completed()
}

/// Runs a test on all devices.
pub(crate) fn on_all_devices(test: impl Fn(&Device)) {
    subjects().iter().for_each(|subject| subject.run(DeviceDescriptor::default(), &test));
}
