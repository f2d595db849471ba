//! WGSL compute entry points as functions of this process.
