//! The facade that an application adds.
