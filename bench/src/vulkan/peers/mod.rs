//! Other layers over Vulkan, as a person would use them.

mod blade;
mod vulkano;
mod wgpu;

use super::Made;
use super::workload::{Peer, Workload};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// All of them, or why one is not there.
pub fn all(adapter: &str, workload: &Rc<Workload>) -> Vec<Made> {
    vec![
        made("wgpu", || wgpu::Wgpu::new(adapter, workload)),
        made("blade", || blade::Blade::new(adapter, workload, false)),
        made("blade, barriers by hand", || blade::Blade::new(adapter, workload, true)),
        made("vulkano", || vulkano::Vulkano::new(adapter, workload)),
    ]
}

/// They panic at what they do not expect of a driver.
fn made<P: Peer + 'static>(name: &str, make: impl FnOnce() -> Result<P, String>) -> Made {
    let made = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err("it panicked".into()));
    made.map(|peer| Box::new(peer) as _).map_err(|why| format!("{name}: {why}"))
}
