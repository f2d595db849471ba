//! The brute-force oracle, generators and the spec runner.

pub mod chapters;
pub mod generate;
pub mod oracle;
pub mod print;
