//! GPU synchronization as in Metal, everywhere.
//!
//! GPUs may run all recorded work at once and in any order. Tracked resources are ordered automatically;
//! untracked ones by what the program says: intrapass, producer and consumer barriers, fences, events, shared
//! events. Lockgate runs such programs on an embedded CPU device that needs no driver, as weakly ordered as the
//! program allows, so that mistakes show.
//!
//! ```
//! use lockgate::*;
//!
//! let device = system_default_device()?;
//! let queue = device.new_command_queue(&Default::default())?;
//! let library = device.new_library(
//!     "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
//!      @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3u) { data[id.x] *= 2u; }",
//! )?;
//! let double = device.new_compute_pipeline(&library, "double")?;
//! let a = device.new_buffer_with_data(&[1u32, 2, 3, 4])?;
//! let b = device.new_buffer(&BufferDescriptor {
//!     size: 16,
//!     hazard_tracking_mode: HazardTrackingMode::Untracked,
//!     ..Default::default()
//! })?;
//! let table = device.new_argument_table();
//! table.set_buffer("data", &b);
//!
//! let allocator = device.new_command_allocator("");
//! let mut commands = device.new_command_buffer("");
//! commands.begin(&allocator);
//! let mut encoder = commands.compute_command_encoder("copy, then double");
//! encoder.copy_buffer(&a, 0, &b, 0, 16);
//! // `b` is untracked: without this barrier the dispatch may run before the copy.
//! encoder.intrapass_barrier(Barrier { after: Stages::BLIT, before: Stages::DISPATCH, ..Default::default() });
//! encoder.set_compute_pipeline(&double);
//! encoder.set_argument_table(&table);
//! encoder.dispatch_threads([4, 1, 1]);
//! encoder.end_encoding();
//! commands.end()?;
//!
//! queue.commit(&[&commands])?.wait_until_completed()?;
//! assert_eq!(b.read::<u32>(0, 4)?, [2, 4, 6, 8]);
//! # Ok::<(), Error>(())
//! ```

pub use lockgate_runtime::*;

#[cfg(feature = "cpu")]
pub use lockgate_cpu as cpu;
pub use lockgate_sync as sync;
#[cfg(feature = "vulkan")]
pub use lockgate_vulkan as vulkan;

mod devices;
#[cfg_attr(not(feature = "vulkan"), path = "gpu/disabled.rs")]
#[cfg_attr(feature = "vulkan", path = "gpu/vulkan.rs")]
mod gpu;

pub use devices::{DeviceReport, devices, open_device, system_default_device};

/// The code of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
