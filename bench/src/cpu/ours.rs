//! Lockgate's devices, its own CPU device and Vulkan drivers alike: one program for all.

use super::work::{Item, Peer, Work};
use lockgate::*;
use std::time::{Duration, Instant};

enum Made {
    Buffer(Buffer),
    Texture(Texture),
    Sampler(Sampler),
}

struct Ready {
    pipeline: ComputePipeline,
    table: ArgumentTable,
    immediates: Vec<u32>,
    groups: [u32; 3],
}

pub struct Ours<'w> {
    name: String,
    work: &'w Work,
    device: Device,
    queue: CommandQueue,
    allocator: CommandAllocator,
    made: Vec<Made>,
    steps: Vec<Ready>,
    created: [Duration; 2],
}

impl<'w> Ours<'w> {
    pub fn new(name: String, device: Device, work: &'w Work) -> Result<Ours<'w>> {
        let created = [Ours::create(&device, work)?, Ours::create(&device, work)?];
        let library = device.new_library(work.wgsl)?;
        let made = work.items.iter().map(|item| make(&device, item)).collect::<Result<Vec<Made>>>()?;
        let mut steps = Vec::new();
        for step in &work.steps {
            let table = device.new_argument_table();
            for (name, item) in step.bind {
                match &made[*item] {
                    Made::Buffer(buffer) => table.set_buffer(*name, buffer),
                    Made::Texture(texture) => table.set_texture(*name, texture),
                    Made::Sampler(sampler) => table.set_sampler(*name, sampler),
                }
            }
            let pipeline = device.new_compute_pipeline(&library, step.entry)?;
            let immediates = match pipeline.reflection().immediates {
                0 => Vec::new(),
                _ => step.immediates.clone(),
            };
            steps.push(Ready { pipeline, table, immediates, groups: step.groups });
        }
        let queue = device.new_command_queue(&Default::default())?;
        let allocator = device.new_command_allocator("");
        Ok(Ours { name, work, queue, allocator, made, steps, created, device })
    }

    /// Time to make all pipelines of a work from its text.
    fn create(device: &Device, work: &Work) -> Result<Duration> {
        let begin = Instant::now();
        let library = device.new_library(work.wgsl)?;
        let mut entries: Vec<&str> = work.steps.iter().map(|step| step.entry).collect();
        entries.sort_unstable();
        entries.dedup();
        for entry in entries {
            device.new_compute_pipeline(&library, entry)?;
        }
        Ok(begin.elapsed())
    }
}

fn make(device: &Device, item: &Item) -> Result<Made> {
    Ok(match item {
        Item::Buffer(words) => Made::Buffer(device.new_buffer_with_data(words)?),
        Item::Texture { size, texels } => {
            let texture = device.new_texture(&TextureDescriptor::d2(size[0], size[1]))?;
            texture.replace_region(0, 0, bytemuck::cast_slice(texels))?;
            Made::Texture(texture)
        }
        Item::Sampler => {
            let linear = FilterMode::Linear;
            let descriptor =
                SamplerDescriptor { mag_filter: linear, min_filter: linear, ..Default::default() };
            Made::Sampler(device.new_sampler(&descriptor)?)
        }
    })
}

impl Peer for Ours<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&mut self) {
        for item in self.work.fresh {
            if let (Made::Buffer(buffer), Item::Buffer(words)) = (&self.made[*item], &self.work.items[*item])
            {
                buffer.write(0, words).unwrap();
            }
        }
    }

    fn run(&mut self) {
        let mut commands = self.device.new_command_buffer("");
        commands.begin(&self.allocator);
        let mut encoder = commands.compute_command_encoder("");
        for step in &self.steps {
            encoder.set_compute_pipeline(&step.pipeline);
            encoder.set_argument_table(&step.table);
            encoder.set_immediates(&step.immediates);
            encoder.dispatch_threadgroups(step.groups);
        }
        encoder.end_encoding();
        commands.end().unwrap();
        self.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        self.allocator.reset().unwrap();
    }

    fn result(&mut self) -> Vec<u32> {
        match (&self.made[self.work.result], &self.work.items[self.work.result]) {
            (Made::Buffer(buffer), Item::Buffer(words)) => buffer.read(0, words.len()).unwrap(),
            (Made::Texture(texture), _) => bytemuck::pod_collect_to_vec(&texture.get_bytes(0, 0).unwrap()),
            _ => Vec::new(),
        }
    }

    fn created(&self) -> Option<[Duration; 2]> {
        Some(self.created)
    }
}
