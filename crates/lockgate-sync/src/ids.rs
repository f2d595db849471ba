//! Typed indexes: every table of a program has its own.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// The position in its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id! {
    /// A resource of a [`Program`](crate::Program) or an engine.
    ///
    /// ```
    /// assert_eq!(lockgate_sync::ResourceId(3).index(), 3);
    /// ```
    ResourceId(u32)
}
id! {
    /// A stretch of physical memory: a heap, or the own memory of a resource that lives on none.
    ///
    /// ```
    /// assert_eq!(lockgate_sync::MemoryId(0).index(), 0);
    /// ```
    MemoryId(u32)
}
id! {
    /// A fence. It has no value; it names points in passes of one queue.
    ///
    /// ```
    /// assert!(lockgate_sync::FenceId(0) < lockgate_sync::FenceId(1));
    /// ```
    FenceId(u32)
}
id! {
    /// An event or shared event: a `u64` that only grows.
    ///
    /// ```
    /// assert!(lockgate_sync::EventId(0) < lockgate_sync::EventId(1));
    /// ```
    EventId(u32)
}
id! {
    /// A command queue.
    ///
    /// ```
    /// assert_eq!(lockgate_sync::QueueId(1).index(), 1);
    /// ```
    QueueId(u32)
}
id! {
    /// One commit, counted over all queues from 0 in the order of the calls.
    ///
    /// ```
    /// assert_eq!(lockgate_sync::CommitId(7).0, 7);
    /// ```
    CommitId(u64)
}
