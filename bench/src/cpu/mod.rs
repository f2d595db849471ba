//! The CPU device: overheads and copies, and kernels beside drivers on the same processor, beside OpenCL and beside what
//! a person would write.

mod by_hand;
mod opencl;
mod ours;
mod overhead;
mod raw;
mod scaling;
mod table;
mod work;
mod works;

use crate::report::Section;
pub use scaling::run as run_scaling;

/// `KERNEL=part of a name` in the environment runs those kernels alone.
pub fn run(quick: bool) -> Section {
    let only = std::env::var("KERNEL").unwrap_or_default();
    if only.is_empty() {
        overhead::run(quick);
        println!();
    }
    let table = table::measure(quick, &only);
    table.print_rest();
    table.section()
}
