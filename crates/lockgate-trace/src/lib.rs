//! File formats of Lockgate.
