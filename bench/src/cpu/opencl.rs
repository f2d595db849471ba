//! The kernels in OpenCL C.

use super::raw::{Argument, Cl, Kernel, Memory};
use super::work::{Item, Peer, Work};
use std::rc::Rc;

pub struct OpenCl<'w> {
    name: String,
    cl: Rc<Cl>,
    work: &'w Work,
    /// Nothing for samplers, which stand in the source.
    items: Vec<Option<Memory>>,
    kernels: Vec<Kernel>,
}

impl<'w> OpenCl<'w> {
    pub fn new(name: String, cl: &Rc<Cl>, work: &'w Work) -> Result<OpenCl<'w>, String> {
        let make = |item: &Item| match item {
            Item::Buffer(words) => cl.buffer(words).map(Some),
            Item::Texture { size, texels } => cl.image(*size, texels).map(Some),
            Item::Sampler => Ok(None),
        };
        let items = work.items.iter().map(make).collect::<Result<_, _>>()?;
        let entries: Vec<&str> = work.steps.iter().map(|step| step.entry).collect();
        Ok(OpenCl { name, cl: cl.clone(), work, items, kernels: cl.kernels(work.opencl, &entries)? })
    }

    fn launch(&self) -> Result<(), String> {
        for (step, kernel) in self.work.steps.iter().zip(&self.kernels) {
            let memory = step.bind.iter().filter_map(|(_, item)| self.items[*item].as_ref());
            let words = step.immediates.iter().map(|word| Argument::Word(*word));
            let arguments: Vec<Argument<'_>> = memory.map(Argument::Memory).chain(words).collect();
            let [global, local] = [[0, 1, 2].map(|axis| step.groups[axis] * step.local[axis]), step.local];
            self.cl.launch(
                *kernel,
                &arguments,
                global.map(|count| count as usize),
                local.map(|count| count as usize),
            )?;
        }
        self.cl.finish()
    }
}

impl Peer for OpenCl<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&mut self) {
        for item in self.work.fresh {
            if let (Some(memory), Item::Buffer(words)) = (&self.items[*item], &self.work.items[*item]) {
                memory.write(words).unwrap();
            }
        }
    }

    fn run(&mut self) {
        self.launch().unwrap();
    }

    fn result(&mut self) -> Vec<u32> {
        self.items[self.work.result].as_ref().map_or(Vec::new(), |memory| memory.read().unwrap())
    }
}
