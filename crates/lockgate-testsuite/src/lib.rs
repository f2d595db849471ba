//! The brute-force oracle, generators and the spec runner.

pub mod oracle;
