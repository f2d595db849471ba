//! The devices of a machine: which there are, which is best, and how one is opened by its name.
//!
//! Deliberately absent: what a device is (`lockgate-runtime`). Tested by the command (`tests/devices.rs` of `lockgate-cli`).

use crate::gpu;
use lockgate_runtime::null::NullBackend;
use lockgate_runtime::{Device, DeviceDescriptor, Error, ErrorKind, Result};

/// The environment variable that names the default device.
const VARIABLE: &str = "LOCKGATE_DEVICE";

/// A device of this machine, or why it cannot be used.
///
/// ```
/// assert!(lockgate::devices().iter().any(|report| report.usable.is_ok()));
/// ```
#[derive(Clone, Debug)]
pub struct DeviceReport {
    /// Its name: what [`open_device`] takes.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Whether it can be opened, and if not, why.
    pub usable: std::result::Result<(), String>,
}

/// The devices of this machine, best first, with those that cannot be used and why.
///
/// ```
/// let devices = lockgate::devices();
/// assert!(devices.iter().any(|device| device.name == "cpu"));
/// ```
#[doc(alias = "MTLCopyAllDevices")]
pub fn devices() -> Vec<DeviceReport> {
    let (mut reports, rest) = gpu::reports();
    reports.push(match open_device("cpu", DeviceDescriptor::default()) {
        Ok(device) => DeviceReport {
            name: device.info().name.clone(),
            description: device.info().description.clone(),
            usable: Ok(()),
        },
        Err(error) => DeviceReport {
            name: "cpu".into(),
            description: "embedded CPU device".into(),
            usable: Err(error.to_string()),
        },
    });
    reports.extend(rest);
    reports
}

/// The best device of this machine: a GPU if there is one, else the embedded CPU device. A driver that only acts as a
/// GPU is never taken. The environment variable `LOCKGATE_DEVICE` names another, as [`open_device`] does.
///
/// # Errors
/// No device can be opened; `LOCKGATE_DEVICE` names none.
///
/// ```
/// let device = lockgate::system_default_device()?;
/// println!("{}", device.info().description);
/// # Ok::<(), lockgate::Error>(())
/// ```
#[doc(alias = "MTLCreateSystemDefaultDevice")]
pub fn system_default_device() -> Result<Device> {
    let descriptor = DeviceDescriptor::default();
    if let Ok(name) = std::env::var(VARIABLE) {
        return open_device(&name, descriptor).map_err(|error| error.context(format!("{VARIABLE}={name}")));
    }
    match gpu::open_default(&descriptor) {
        Some(device) => Ok(device),
        None => open_device("cpu", descriptor),
    }
}

/// A device by its name, as [`devices`] lists it: `cpu`; `vulkan`, the best that Vulkan has; `vulkan:NAME`, the one whose
/// name has that part; or `null`, which completes everything and runs nothing.
///
/// # Errors
/// A name that no device has; a device that cannot be opened.
///
/// ```
/// let device = lockgate::open_device("cpu", lockgate::DeviceDescriptor::default())?;
/// assert_eq!(device.info().name, "cpu");
/// # Ok::<(), lockgate::Error>(())
/// ```
pub fn open_device(name: &str, descriptor: DeviceDescriptor) -> Result<Device> {
    let (kind, part) = name.split_once(':').map_or((name, None), |(kind, part)| (kind, Some(part)));
    match (kind, part) {
        #[cfg(feature = "cpu")]
        ("cpu", None) => {
            let backend = lockgate_cpu::CpuBackend::new(&lockgate_cpu::CpuDescriptor::default())?;
            Device::open(Box::new(backend), descriptor)
        }
        ("vulkan", part) => gpu::open(part, descriptor),
        ("null", None) => Device::open(Box::new(NullBackend::default()), descriptor),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            format!("there is no device `{name}`; `lockgate devices` lists those that there are"),
        )),
    }
}
