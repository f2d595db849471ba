//! File formats of Lockgate: program files, and timelines as text, page and trace.
//!
//! A program file is a pipeline as text (KDL 2): resources, kernels, queues, passes, commands, synchronization,
//! expectations. [`ProgramFile::parse`] reads it, [`ProgramFile::model`] lowers it to the model,
//! [`ProgramFile::run`] runs it on a device. [`Timeline`] shows what ran when and why in that order.
//!
//! Deliberately absent: drawing on a terminal and writing files, which are the application's.

mod check;
mod diagnostic;
pub mod findings;
mod pictures;
mod program;
pub mod timeline;

pub use check::{Checked, Repair};
pub use diagnostic::{Diagnostic, Diagnostics, Source};
pub use lockgate_sync::{CheckOptions, Code, Target};
pub use program::{
    CommandName, Files, Folder, Names, NoFiles, OutputPicture, ProgramFile, Progress, RunReport, Verdict,
    Watched, write,
};
pub use timeline::Timeline;
