//! Records command buffers and hands them to a device.
