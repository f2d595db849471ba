//! What the three articles share: five buffers in one argument table, kernels that each modify one of them, and
//! a question: which commands are ordered?

use lockgate::sync::{CommandRef, VertexId, VertexKind};
use lockgate::*;

pub(crate) struct Article {
    pub(crate) device: Device,
    pub(crate) queue: CommandQueue,
    pub(crate) table: ArgumentTable,
    pub(crate) buffers: Vec<Buffer>,
    library: Library,
}

impl Article {
    /// A tracing device, untracked buffers A to E at index 0 to 4 of the table.
    pub(crate) fn new() -> Result<Article> {
        let backend = cpu::CpuBackend::new(&cpu::CpuDescriptor::default())?;
        let descriptor = DeviceDescriptor { tracing: true, ..Default::default() };
        let device = Device::new(Box::new(backend), descriptor);
        let queue = device.new_command_queue(&Default::default())?;
        let kernel = |index: u32| {
            format!(
                "@group(0) @binding({index}) var<storage, read_write> buffer{index}: array<u32>;
                 @compute @workgroup_size(64) fn modify_buffer_index{index}(@builtin(global_invocation_id) id: vec3u) {{
                     buffer{index}[id.x] = buffer{index}[id.x] * 2u + 1u;
                 }}\n"
            )
        };
        let library = device.new_library(&(0..5).map(kernel).collect::<String>())?;
        let table = device.new_argument_table();
        let mut buffers = Vec::new();
        for (index, label) in ["A", "B", "C", "D", "E"].into_iter().enumerate() {
            let hazard_tracking_mode = HazardTrackingMode::Untracked;
            let buffer = device.new_buffer(&BufferDescriptor {
                size: 1024,
                hazard_tracking_mode,
                label,
                ..Default::default()
            })?;
            buffer.write(0, &[index as u32 + 1; 256])?;
            table.set_buffer(index as u32, &buffer);
            buffers.push(buffer);
        }
        Ok(Article { device, queue, table, buffers, library })
    }

    /// Encodes a dispatch that modifies the buffer at an index of the table.
    pub(crate) fn modify(&self, encoder: &mut ComputeCommandEncoder<'_>, index: u32) -> Result<()> {
        let name = format!("modify_buffer_index{index}");
        encoder.set_compute_pipeline(&self.device.new_compute_pipeline(&self.library, &name)?);
        encoder.set_argument_table(&self.table);
        encoder.dispatch_threads([256, 1, 1]);
        Ok(())
    }

    /// Runs the command buffer and prints for each pair of commands whether they are ordered or free.
    pub(crate) fn run(&self, commands: &CommandBuffer, names: &[&str]) -> Result<()> {
        let feedback = self.queue.commit(&[commands])?.wait_until_completed()?;
        let trace = self.device.take_trace();
        let work = |command: u32| -> Option<VertexId> {
            let commit = trace.commits.first()?.id;
            let vertex = trace.graph.works(CommandRef { commit, buffer: 0, command }).next()?;
            matches!(vertex.kind, VertexKind::Work { .. }).then_some(vertex.id)
        };
        for (later, later_name) in names.iter().enumerate() {
            for (earlier, earlier_name) in names[..later].iter().enumerate() {
                let (Some(from), Some(to)) = (work(earlier as u32), work(later as u32)) else { continue };
                match trace.graph.path(from, to) {
                    Some(path) => println!("{earlier_name} => {later_name}   by {:?}", path[0].by.kind),
                    None => println!("{earlier_name} || {later_name}   free"),
                }
            }
        }
        println!(
            "ran {} commands in {:?}",
            feedback.commands().len(),
            feedback.gpu_end_time() - feedback.gpu_start_time()
        );
        Ok(())
    }
}
