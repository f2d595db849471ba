//! wgpu: it orders everything itself, and has one queue. Ranges are bound by dynamic offsets; what is reachable is an array
//! of bindings.

use crate::vulkan::workload::{Dispatch, Kernel, Peer, STRIDE, Span, Workload, find_adapter, passes};
use std::num::NonZeroU32;
use std::rc::Rc;
use wgpu::*;

pub struct Wgpu {
    device: Device,
    queue: Queue,
    pipelines: Vec<ComputePipeline>,
    /// One for each table; where ranges are bound, one for all.
    groups: Vec<BindGroup>,
    reachable: Option<BindGroup>,
    buffers: Vec<Buffer>,
    stamps: Option<QuerySet>,
    dispatches: Vec<Dispatch>,
    workload: Rc<Workload>,
    submitted: Option<SubmissionIndex>,
}

impl Wgpu {
    pub fn new(adapter: &str, workload: &Rc<Workload>) -> Result<Wgpu, String> {
        let (device, queue) = open(adapter, workload.reachable)?;
        let buffer = |words: &usize| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            buffer(&device, *words as u64 * 4, usage)
        };
        let buffers: Vec<Buffer> = workload.buffers.iter().map(buffer).collect();
        for (at, words) in &workload.contents {
            queue.write_buffer(&buffers[*at], 0, bytemuck::cast_slice(words));
        }
        let beside = (workload.reachable > 0).then(|| reachable(&device, workload.reachable));
        let source = ShaderSource::Wgsl(workload.source.as_str().into());
        let module = device.create_shader_module(ShaderModuleDescriptor { label: None, source });
        let layout = |kernel: &Kernel| layout(&device, kernel, workload.ranges);
        let layouts: Vec<BindGroupLayout> = workload.kernels.iter().map(layout).collect();
        let pipeline = |(kernel, own): (&Kernel, &BindGroupLayout)| {
            let mut all = vec![Some(own)];
            all.extend(beside.as_ref().map(|(layout, _)| Some(layout)));
            let layout = PipelineLayoutDescriptor { bind_group_layouts: &all, ..Default::default() };
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: None,
                layout: Some(&device.create_pipeline_layout(&layout)),
                module: &module,
                entry_point: Some(kernel.name),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        let pipelines = workload.kernels.iter().zip(&layouts).map(pipeline).collect();
        let tables = if workload.ranges { 1 } else { workload.tables.len() };
        let group = |at: usize| {
            let spans = &workload.tables[at].spans[..workload.kernel(at).bindings];
            let resource = |Span { buffer, offset, size }: &Span| {
                let (buffer, size) = (&buffers[*buffer], BufferSize::new(*size));
                BindingResource::Buffer(BufferBinding { buffer, offset: *offset, size })
            };
            let entry = |(at, span)| BindGroupEntry { binding: at as u32, resource: resource(span) };
            let entries: Vec<_> = spans.iter().enumerate().map(entry).collect();
            let layout = &layouts[workload.tables[at].kernel];
            device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries })
        };
        let groups = (0..tables).map(group).collect();
        let stamps = device.features().contains(STAMPS).then(|| {
            device.create_query_set(&QuerySetDescriptor { label: None, ty: QueryType::Timestamp, count: 2 })
        });
        Ok(Wgpu {
            pipelines,
            groups,
            reachable: beside.map(|(_, group)| group),
            buffers,
            stamps,
            dispatches: workload.queue(0, 1),
            workload: workload.clone(),
            submitted: None,
            device,
            queue,
        })
    }

    /// Copies into memory of the host what `record` leaves in the buffer it is given.
    fn read(&self, size: u64, record: impl FnOnce(&mut CommandEncoder, &Buffer)) -> Vec<u8> {
        let staging = buffer(&self.device, size, BufferUsages::COPY_DST | BufferUsages::MAP_READ);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        record(&mut encoder, &staging);
        self.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(MapMode::Read, |mapped| mapped.expect("it can be mapped"));
        self.device.poll(PollType::wait_indefinitely()).expect("the device is not lost");
        staging.slice(..).get_mapped_range().expect("it is mapped").to_vec()
    }
}

const STAMPS: Features = Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

fn open(adapter: &str, reachable: u32) -> Result<(Device, Queue), String> {
    let instance = Instance::new(InstanceDescriptor {
        backends: Backends::VULKAN,
        flags: InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER,
        ..InstanceDescriptor::new_without_display_handle()
    });
    let all = pollster::block_on(instance.enumerate_adapters(Backends::VULKAN));
    let found = find_adapter(all, adapter, |own| own.get_info().name)?;
    let arrays = Features::BUFFER_BINDING_ARRAY | Features::STORAGE_RESOURCE_BINDING_ARRAY;
    let mut features = found.features() & STAMPS;
    if reachable > 0 {
        let most = found.limits().max_binding_array_elements_per_shader_stage;
        if !found.features().contains(arrays) || most < reachable {
            return Err(format!("the driver has no arrays of {reachable} storage buffers for it"));
        }
        features |= arrays;
    }
    let descriptor = DeviceDescriptor {
        required_features: features,
        required_limits: found.limits(),
        ..Default::default()
    };
    pollster::block_on(found.request_device(&descriptor)).map_err(|error| error.to_string())
}

fn buffer(device: &Device, size: u64, usage: BufferUsages) -> Buffer {
    device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

fn entry(
    binding: u32,
    read_only: bool,
    has_dynamic_offset: bool,
    count: Option<u32>,
) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer {
            ty: BufferBindingType::Storage { read_only },
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: count.and_then(NonZeroU32::new),
    }
}

fn layout(device: &Device, kernel: &Kernel, ranges: bool) -> BindGroupLayout {
    let entries: Vec<_> = (0..kernel.bindings as u32).map(|at| entry(at, at > 0, ranges, None)).collect();
    device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries })
}

/// So many buffers in one group.
fn reachable(device: &Device, count: u32) -> (BindGroupLayout, BindGroup) {
    let entries = [entry(0, true, false, Some(count))];
    let layout =
        device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: None, entries: &entries });
    let buffers: Vec<Buffer> = (0..count).map(|_| buffer(device, STRIDE, BufferUsages::STORAGE)).collect();
    let bindings: Vec<_> = buffers.iter().map(|buffer| buffer.as_entire_buffer_binding()).collect();
    let entries = [BindGroupEntry { binding: 0, resource: BindingResource::BufferArray(&bindings) }];
    let group =
        device.create_bind_group(&BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    (layout, group)
}

impl Peer for Wgpu {
    fn name(&self) -> String {
        "wgpu".into()
    }

    fn submit(&mut self) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        if let Some(stamps) = &self.stamps {
            encoder.write_timestamp(stamps, 0);
        }
        for dispatches in passes(&self.dispatches) {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let mut last = None;
            for dispatch in dispatches {
                let table = &self.workload.tables[dispatch.table];
                if last.replace(table.kernel) != Some(table.kernel) {
                    pass.set_pipeline(&self.pipelines[table.kernel]);
                    if let Some(reachable) = &self.reachable {
                        pass.set_bind_group(1, reachable, &[]);
                    }
                }
                match self.workload.ranges {
                    true => pass.set_bind_group(0, &self.groups[0], &[table.spans[0].offset as u32]),
                    false => pass.set_bind_group(0, &self.groups[dispatch.table], &[]),
                }
                let [x, y, z] = dispatch.groups;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        if let Some(stamps) = &self.stamps {
            encoder.write_timestamp(stamps, 1);
        }
        self.submitted = Some(self.queue.submit([encoder.finish()]));
    }

    fn wait(&mut self) {
        let wait = PollType::Wait { submission_index: self.submitted.take(), timeout: None };
        self.device.poll(wait).expect("the device is not lost");
    }

    fn device(&mut self) -> Option<f64> {
        let stamps = self.stamps.as_ref()?;
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let resolved = buffer(&self.device, 16, usage);
        let bytes = self.read(16, |encoder, staging| {
            encoder.resolve_query_set(stamps, 0..2, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, staging, 0, Some(16));
        });
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        Some(ticks[1].saturating_sub(ticks[0]) as f64 * f64::from(self.queue.get_timestamp_period()))
    }

    fn words(&mut self) -> Vec<u32> {
        let read = |Span { buffer, offset, size }: &Span| -> Vec<u32> {
            let from = &self.buffers[*buffer];
            let copy = |encoder: &mut CommandEncoder, staging: &Buffer| {
                encoder.copy_buffer_to_buffer(from, *offset, staging, 0, Some(*size));
            };
            bytemuck::pod_collect_to_vec(&self.read(*size, copy))
        };
        self.workload.output.iter().flat_map(read).collect()
    }
}
