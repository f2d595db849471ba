//! Where an automatic heap puts its resources: the first stretch that has room, as the runtime does it.

/// Every resource begins at a multiple of this.
const ALIGN: u64 = 256;

/// The free stretches of a heap by rising offset, none touching the next.
#[derive(Debug)]
pub(crate) struct Free(Vec<(u64, u64)>);

impl Free {
    pub(crate) fn new(size: u64) -> Free {
        Free(vec![(0, size)])
    }

    /// The offset of the first stretch that has room.
    pub(crate) fn take(&mut self, size: u64) -> Option<u64> {
        let fits = |(start, end): &(u64, u64)| {
            start
                .checked_next_multiple_of(ALIGN)
                .and_then(|at| at.checked_add(size))
                .is_some_and(|s| s <= *end)
        };
        let at = self.0.iter().position(fits)?;
        let (start, end) = self.0.remove(at);
        let offset = start.next_multiple_of(ALIGN);
        let rest = [(offset + size, end), (start, offset)];
        rest.into_iter().filter(|(start, end)| start < end).for_each(|piece| self.0.insert(at, piece));
        Some(offset)
    }

    pub(crate) fn give_back(&mut self, offset: u64, size: u64) {
        let at = self.0.partition_point(|(start, _)| *start < offset);
        self.0.insert(at, (offset, offset + size));
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for (start, end) in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if last.1 >= start => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        self.0 = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::Free;

    #[test]
    fn memory_is_used_again() {
        let mut free = Free::new(1024);
        assert_eq!(free.take(100), Some(0));
        assert_eq!(free.take(512), Some(256));
        assert_eq!(free.take(512), None);
        free.give_back(0, 100);
        free.give_back(256, 512);
        assert_eq!(free.take(1024), Some(0));
    }
}
