//! Kernels that were made before: a pipeline of the same content takes the same code.
//!
//! What counts is the WGSL, the entry point and its constants; engine and lanes are the same for all of a device. The
//! latest used stay, up to a limit. Deliberately absent: anything on disk.

use crate::kernel::Kernel;
use lockgate_runtime::backend::ComputePipelineSource;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Kernels that are kept though no pipeline may use them any more.
const KERNELS_MAX: usize = 64;

struct Made {
    wgsl: String,
    entry_point: String,
    /// As bits, so that a constant is equal to itself whatever it is.
    constants: Vec<(String, u64)>,
    kernel: Arc<Kernel>,
}

/// The kernels of a device, the latest used first.
#[derive(Default)]
pub(crate) struct Kernels(Mutex<VecDeque<Made>>);

impl Kernels {
    /// The kernel of that content, made by `make` if it is not there.
    pub(crate) fn get<E>(
        &self,
        source: &ComputePipelineSource<'_>,
        make: impl FnOnce() -> Result<Kernel, E>,
    ) -> Result<Arc<Kernel>, E> {
        if let Some(kernel) = self.find(source) {
            return Ok(kernel);
        }
        // Without the lock: others may make theirs meanwhile, or the same one twice.
        let kernel = Arc::new(make()?);
        let mut made = self.lock();
        made.push_front(Made {
            wgsl: source.module.source.clone(),
            entry_point: source.entry_point.to_owned(),
            constants: bits(source.constants).map(|(name, bits)| (name.to_owned(), bits)).collect(),
            kernel: kernel.clone(),
        });
        made.truncate(KERNELS_MAX);
        Ok(kernel)
    }

    fn find(&self, source: &ComputePipelineSource<'_>) -> Option<Arc<Kernel>> {
        let mut made = self.lock();
        let same = |made: &Made| {
            made.entry_point == source.entry_point
                && made.wgsl == source.module.source
                && made.constants.iter().map(|(name, bits)| (name.as_str(), *bits)).eq(bits(source.constants))
        };
        let at = made.iter().position(same)?;
        let found = made.remove(at)?;
        let kernel = found.kernel.clone();
        made.push_front(found);
        Some(kernel)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bits(constants: &[(String, f64)]) -> impl Iterator<Item = (&str, u64)> {
    constants.iter().map(|(name, value)| (name.as_str(), value.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Engine, KernelDescriptor, KernelError, Lanes};
    use lockgate_runtime::ShaderModule;

    const WGSL: &str = "override n = 1u;
        @group(0) @binding(0) var<storage, read_write> words: array<u32>;
        @compute @workgroup_size(4) fn add() { words[0] += n; }";

    #[test]
    fn the_same_content_is_made_once() {
        let module = naga::front::wgsl::parse_str(WGSL).unwrap();
        let flags = naga::valid::ValidationFlags::all();
        let info =
            naga::valid::Validator::new(flags, naga::valid::Capabilities::all()).validate(&module).unwrap();
        let module = ShaderModule { module, info, source: WGSL.into() };
        let (kernels, mut made) = (Kernels::default(), 0);
        let mut get = |constants: &[(String, f64)]| {
            let source =
                ComputePipelineSource { module: &module, entry_point: "add", constants, label: "add" };
            let kernel = kernels.get(&source, || {
                made += 1;
                Kernel::new(&KernelDescriptor {
                    module: &module.module,
                    info: &module.info,
                    entry_point: "add",
                    constants,
                    engine: Engine::Auto,
                    lanes: Lanes::Four,
                })
            });
            Ok::<_, KernelError>((Arc::as_ptr(&kernel?), made))
        };
        let n = |value: f64| vec![("n".to_owned(), value)];
        let first = get(&n(2.0)).unwrap();
        assert_eq!(get(&n(2.0)).unwrap(), first);
        assert_ne!(get(&n(3.0)).unwrap().0, first.0);
        assert_eq!(get(&n(2.0)).unwrap(), (first.0, 2));
        (0..KERNELS_MAX).for_each(|at| {
            get(&n(at as f64 + 10.0)).unwrap();
        });
        assert_eq!(get(&n(2.0)).unwrap().1, 3 + KERNELS_MAX, "the oldest is forgotten");
    }
}
