//! What the driver says, as errors of the runtime.

use ash::vk;
use lockgate_runtime::{Error, ErrorKind, Result};

/// A result code as a sentence.
pub(crate) fn failed(result: vk::Result) -> String {
    match result {
        vk::Result::ERROR_DEVICE_LOST => "the device is lost".into(),
        vk::Result::ERROR_OUT_OF_HOST_MEMORY => "there is not enough memory of the host".into(),
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => "there is not enough memory of the device".into(),
        vk::Result::ERROR_INITIALIZATION_FAILED => "the driver could not be initialized".into(),
        vk::Result::ERROR_INCOMPATIBLE_DRIVER => "no driver is installed that fits".into(),
        other => format!("the driver says {other:?}"),
    }
}

/// A failed call as an error.
pub(crate) fn error(what: &str, result: vk::Result) -> Error {
    let kind = match result {
        vk::Result::ERROR_DEVICE_LOST => ErrorKind::DeviceLost,
        vk::Result::ERROR_OUT_OF_HOST_MEMORY | vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => {
            ErrorKind::OutOfMemory
        }
        vk::Result::ERROR_FEATURE_NOT_PRESENT | vk::Result::ERROR_FORMAT_NOT_SUPPORTED => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Execution,
    };
    Error::new(kind, format!("{what}: {}", failed(result)))
}

/// Results of calls of the driver.
pub(crate) trait Fallible<T> {
    /// The value, or an error that says what was being done.
    fn or_fail(self, what: &str) -> Result<T>;
}

impl<T> Fallible<T> for ash::prelude::VkResult<T> {
    fn or_fail(self, what: &str) -> Result<T> {
        self.map_err(|result| error(what, result))
    }
}
