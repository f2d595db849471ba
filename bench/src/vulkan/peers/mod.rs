//! Other layers over Vulkan, as a person would use them.

mod blade;
mod vulkano;
mod wgpu;

use super::workload::{Peer, Workload};
use std::rc::Rc;

type Made = Result<Box<dyn Peer>, String>;

/// All of them, or why one is not there.
pub fn all(adapter: &str, workload: &Rc<Workload>) -> Vec<Made> {
    fn boxed<P: Peer + 'static>(name: &str, made: Result<P, String>) -> Made {
        made.map(|peer| Box::new(peer) as _).map_err(|why| format!("{name}: {why}"))
    }
    vec![
        boxed("wgpu", wgpu::Wgpu::new(adapter, workload)),
        boxed("blade", blade::Blade::new(adapter, workload, false)),
        boxed("blade, barriers by hand", blade::Blade::new(adapter, workload, true)),
        boxed("vulkano", vulkano::Vulkano::new(adapter, workload)),
    ]
}
