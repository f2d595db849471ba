//! The pure synchronization model.
