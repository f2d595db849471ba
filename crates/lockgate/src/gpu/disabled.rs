//! No GPUs: the feature `vulkan` is off. The same face as `vulkan.rs` beside this file.

use crate::DeviceReport;
use lockgate_runtime::{Device, DeviceDescriptor, Error, ErrorKind, Result};

const WHY: &str = "lockgate was built without the feature `vulkan`";

/// One that says why there is none.
pub(crate) fn reports() -> (Vec<DeviceReport>, Vec<DeviceReport>) {
    let none = DeviceReport { name: "vulkan".into(), description: "Vulkan".into(), usable: Err(WHY.into()) };
    (Vec::new(), vec![none])
}

/// There is none.
pub(crate) fn open_default(_descriptor: &DeviceDescriptor) -> Option<Device> {
    None
}

/// There is none.
pub(crate) fn open(_part: Option<&str>, _descriptor: DeviceDescriptor) -> Result<Device> {
    Err(Error::new(ErrorKind::Unsupported, WHY))
}
