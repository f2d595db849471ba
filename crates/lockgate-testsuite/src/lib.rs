//! The brute-force oracle, generators and the spec runner.
