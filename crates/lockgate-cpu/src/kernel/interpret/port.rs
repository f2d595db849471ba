//! Accesses by way of a [`Port`]: scalars of buffers, and texels.

use super::{
    super::{
        binding::TextureBinding,
        memory,
        port::{Port, Reach},
        sample,
    },
    Machine,
    value::Bound,
};

impl Machine<'_> {
    /// Bytes of a binding, as a port names them. Without a port nobody asks which binding it is.
    pub(super) fn reach(&self, bound: Bound, lane: usize, address: *mut u8, bytes: u32) -> Reach {
        let slot = if self.port.is_some() { self.place_of(bound) } else { bound.slot };
        Reach { slot, lane: lane as u32, address, bytes }
    }

    /// Loads a scalar of a binding.
    pub(super) fn load_bound(&self, from: Reach, atomic: bool) -> u64 {
        match self.port {
            Some(port) => port.load(from, atomic),
            // SAFETY: inside the binding, which is valid by the contract of `Kernel::run`.
            None => unsafe { memory::load(from.address, from.bytes) },
        }
    }

    /// Stores a scalar of a binding.
    pub(super) fn store_bound(&self, to: Reach, bits: u64, atomic: bool) {
        match self.port {
            Some(port) => port.store(to, bits, atomic),
            // SAFETY: inside the binding, which is valid by the contract of `Kernel::run`.
            None => unsafe { memory::store(to.address, to.bytes, bits) },
        }
    }

    /// Changes a scalar of a binding in one step.
    pub(super) fn update_bound(&self, at: Reach, change: &dyn Fn(u64) -> u64) -> u64 {
        match self.port {
            Some(port) => port.update(at, change),
            // SAFETY: inside the binding, which is valid by the contract of `Kernel::run`.
            None => unsafe { memory::update(at.address, at.bytes, change) },
        }
    }

    /// Does something that reads texels, with what the port gives in their place.
    ///
    /// Samples are computed from memory, so what was given stands there meanwhile. Whoever has a port runs alone, and
    /// nobody else runs between the first byte that is replaced and the last that is put back.
    pub(super) fn with_texels<T>(
        &self,
        (bound, texture): (Bound, &TextureBinding),
        texels: impl FnOnce() -> Vec<(u32, [u32; 3])>,
        lane: usize,
        act: impl FnOnce() -> T,
    ) -> T {
        let Some(port) = self.port else { return act() };
        let mut given = Vec::new();
        for (level, at) in texels() {
            let Some(address) = sample::texel_address(texture, level, at) else { continue };
            for reach in pieces(self.place_of(bound), texture, address, lane) {
                given.push((reach, port.load(reach, false)));
            }
        }
        for (reach, bits) in &mut given {
            *bits = exchange(reach, *bits);
        }
        let done = act();
        for (reach, bits) in given.iter().rev() {
            exchange(reach, *bits);
        }
        done
    }

    /// Stores a texel of the largest level by way of a port.
    pub(super) fn store_texel(
        &self,
        port: &dyn Port,
        (bound, texture): (Bound, &TextureBinding),
        at: [u32; 3],
        texel: [u32; 4],
        lane: usize,
    ) {
        let Some(address) = sample::texel_address(texture, 0, at) else { return };
        let bytes = texture.format.encode(texel);
        for (number, reach) in pieces(self.place_of(bound), texture, address, lane).enumerate() {
            let start = number * reach.bytes as usize;
            let mut raw = [0; 8];
            raw[..reach.bytes as usize].copy_from_slice(&bytes[start..start + reach.bytes as usize]);
            port.store(reach, u64::from_le_bytes(raw), false);
        }
    }

    /// Changes a 32-bit integer texel by way of a port.
    pub(super) fn update_texel(
        &self,
        port: &dyn Port,
        (bound, texture): (Bound, &TextureBinding),
        at: [u32; 3],
        change: &dyn Fn(u64) -> u64,
        lane: usize,
    ) {
        match sample::texel_address(texture, 0, at) {
            Some(address) if texture.format.bytes() >= 4 => {
                port.update(self.reach(bound, lane, address, 4), change);
            }
            _ => {}
        }
    }
}

/// A texel in scalars of at most four bytes.
fn pieces(
    slot: u32,
    texture: &TextureBinding,
    address: *mut u8,
    lane: usize,
) -> impl Iterator<Item = Reach> + use<> {
    let bytes = texture.format.bytes().min(4);
    (0..texture.format.bytes() / bytes).map(move |piece| {
        let address = address.wrapping_add((piece * bytes) as usize);
        Reach { slot, lane: lane as u32, address, bytes }
    })
}

/// Writes bits where they differ and gives what was there.
fn exchange(at: &Reach, bits: u64) -> u64 {
    // SAFETY: a piece of a texel inside its level, valid by the contract of `Kernel::run`.
    let old = unsafe { memory::load(at.address, at.bytes) };
    if old != bits {
        // SAFETY: as above; memory of the device can always be written, and nobody else runs meanwhile.
        unsafe { memory::store(at.address, at.bytes, bits) };
    }
    old
}
