//! What resources hold: filled at the start, read at the end, touched by the host in between.
//!
//! Private memory is reached through a shared buffer and a copy on a queue of its own.

use super::{Machine, OutputPicture};
use crate::diagnostic::Diagnostic;
use crate::pictures;
use crate::program::expect::as_picture;
use crate::program::file::{Fill, HostAction, Kind};
use lockgate_runtime::{
    Buffer, BufferDescriptor, BufferLayout, CommandQueueDescriptor, ComputeCommandEncoder, Result,
    StorageMode, Texture, TextureDescriptor, TextureOrigin,
};
use lockgate_sync::{Access, HazardTrackingMode, ResourceId};

impl Machine<'_> {
    /// Makes a resource on its heap or its own memory.
    pub(super) fn make(&mut self, id: ResourceId) -> std::result::Result<(), Diagnostic> {
        let made = self.make_on_device(id);
        made.map_err(|error| self.failure(&self.file.resource(id).span, &error))
    }

    fn make_on_device(&mut self, id: ResourceId) -> Result<()> {
        let resource = self.file.resource(id);
        let mode = match resource.tracked {
            true => HazardTrackingMode::Tracked,
            false => HazardTrackingMode::Untracked,
        };
        let heap = resource.heap.map(|heap| (&self.heaps[heap], &self.file.heaps[heap]));
        let placed = heap.is_some_and(|(_, heap)| heap.kind == lockgate_runtime::HeapType::Placement);
        match &resource.kind {
            Kind::Buffer { size } => {
                let (size, storage, label) = (*size, resource.storage, resource.name.as_str());
                let descriptor = BufferDescriptor { size, storage, hazard_tracking_mode: mode, label };
                let buffer = match heap {
                    None => self.device.new_buffer(&descriptor),
                    Some((heap, _)) if placed => heap.new_buffer_at(&descriptor, resource.offset),
                    Some((heap, _)) => heap.new_buffer(&descriptor),
                };
                self.buffers[id.index()] = Some(buffer?);
            }
            Kind::Texture { descriptor } => {
                let descriptor = TextureDescriptor {
                    storage: resource.storage,
                    hazard_tracking_mode: mode,
                    label: resource.name.clone(),
                    ..descriptor.clone()
                };
                let texture = match heap {
                    None => self.device.new_texture(&descriptor),
                    Some((heap, _)) if placed => heap.new_texture_at(&descriptor, resource.offset),
                    Some((heap, _)) => heap.new_texture(&descriptor),
                };
                self.textures[id.index()] = Some(texture?);
            }
            // Refused before the run.
            Kind::Shapeless { .. } => {}
        }
        Ok(())
    }

    /// Writes what the file says resources hold at the start.
    pub(super) fn fill_all(&mut self) -> std::result::Result<(), Diagnostic> {
        for (index, resource) in self.file.resources.iter().enumerate() {
            let filled = match (&self.buffers[index], &self.textures[index]) {
                _ if resource.fill == Fill::Nothing => Ok(()),
                (Some(buffer), _) => {
                    let (buffer, bytes) = (buffer.clone(), bytes(&resource.fill, buffer.size()));
                    self.write_buffer(&buffer, &bytes)
                }
                (_, Some(texture)) => {
                    let texture = texture.clone();
                    let bytes = bytes(&resource.fill, texture.packed_size(0) as u64);
                    self.write_texture(&texture, &bytes)
                }
                _ => Ok(()),
            };
            filled.map_err(|error| self.failure(&resource.span, &error))?;
        }
        Ok(())
    }

    /// A read or write of the host in the middle of the program.
    pub(super) fn touch(
        &mut self,
        action: &HostAction,
        access: &Access,
    ) -> std::result::Result<(), Diagnostic> {
        let Some(buffer) = &self.buffers[access.resource.index()] else { return Ok(()) };
        let (start, end) = access.region.bytes(buffer.size());
        let done = if access.kind.writes() {
            buffer.write(start, &bytes(&action.fill, end - start))
        } else {
            buffer.read::<u8>(start, (end - start) as usize).map(|_| ())
        };
        done.map_err(|error| self.failure(&action.span, &error))
    }

    pub(super) fn outputs(&mut self) -> std::result::Result<Vec<OutputPicture>, Diagnostic> {
        let mut pictures = Vec::new();
        for output in &self.file.outputs {
            let texels = self.read_level(output.from, output.level, output.slice);
            let texels = texels.map_err(|error| self.failure(&output.span, &error))?;
            let Some(descriptor) = self.file.resource(output.from).texture() else { continue };
            let picture = as_picture(texels, descriptor.level_size(output.level), descriptor.format);
            let bytes = pictures::encode(picture).map_err(|error| {
                let message = format!("output `{}`: {error}", output.name);
                Diagnostic::new("no-picture", message, &self.file.source, output.span.clone(), "")
            })?;
            pictures.push(OutputPicture { name: output.name.clone(), path: output.path.clone(), bytes });
        }
        Ok(pictures)
    }

    /// All bytes of a buffer, wherever they are.
    pub(super) fn read_buffer(&mut self, id: ResourceId) -> Result<Vec<u8>> {
        let Some(buffer) = self.buffers[id.index()].clone() else { return Ok(Vec::new()) };
        if buffer.storage_mode() == StorageMode::Shared {
            return buffer.read(0, buffer.size() as usize);
        }
        let staging = self.staging(buffer.size())?;
        self.serve(|encoder| encoder.copy_buffer(&buffer, 0, &staging, 0, buffer.size()))?;
        staging.read(0, buffer.size() as usize)
    }

    /// All bytes of a level, rows packed.
    pub(super) fn read_level(&mut self, id: ResourceId, level: u32, slice: u32) -> Result<Vec<u8>> {
        let Some(texture) = self.textures[id.index()].clone() else { return Ok(Vec::new()) };
        if texture.descriptor().storage == StorageMode::Shared {
            return texture.get_bytes(level, slice);
        }
        let size = texture.packed_size(level);
        let staging = self.staging(size as u64)?;
        let from = TextureOrigin { level, slice, origin: [0; 3] };
        let sides = texture.level_size(level);
        self.serve(|encoder| {
            encoder.copy_texture_to_buffer(&texture, from, sides, &staging, BufferLayout::default());
        })?;
        staging.read(0, size)
    }

    /// All bytes of a resource.
    pub(super) fn read_all(&mut self, id: ResourceId) -> Result<Vec<u8>> {
        let Some(texture) = self.textures[id.index()].clone() else { return self.read_buffer(id) };
        let mut bytes = Vec::new();
        for slice in 0..texture.descriptor().slice_count() {
            for level in 0..texture.mip_level_count() {
                bytes.extend(self.read_level(id, level, slice)?);
            }
        }
        Ok(bytes)
    }

    fn write_buffer(&mut self, buffer: &Buffer, bytes: &[u8]) -> Result<()> {
        if buffer.storage_mode() == StorageMode::Shared {
            return buffer.write(0, bytes);
        }
        let staging = self.staging(buffer.size())?;
        staging.write(0, bytes)?;
        self.serve(|encoder| encoder.copy_buffer(&staging, 0, buffer, 0, buffer.size()))
    }

    fn write_texture(&mut self, texture: &Texture, bytes: &[u8]) -> Result<()> {
        if texture.descriptor().storage == StorageMode::Shared {
            return texture.replace_region(0, 0, bytes);
        }
        let staging = self.staging(bytes.len() as u64)?;
        staging.write(0, bytes)?;
        let sides = texture.level_size(0);
        self.serve(|encoder| {
            let (layout, at) = (BufferLayout::default(), TextureOrigin::default());
            encoder.copy_buffer_to_texture(&staging, layout, texture, at, sides);
        })
    }

    fn staging(&self, size: u64) -> Result<Buffer> {
        self.device.new_buffer(&BufferDescriptor { size, label: "staging", ..BufferDescriptor::default() })
    }

    /// Encodes one pass on a queue beside the program's and waits for it.
    fn serve(&mut self, encode: impl FnOnce(&mut ComputeCommandEncoder<'_>)) -> Result<()> {
        let queue = match &self.service {
            Some(queue) => queue.clone(),
            None => {
                let descriptor = CommandQueueDescriptor { label: "host", ..Default::default() };
                self.service.insert(self.device.new_command_queue(&descriptor)?).clone()
            }
        };
        let mut commands = self.device.new_command_buffer("staging");
        commands.begin(&self.device.new_command_allocator("staging"));
        let mut encoder = commands.compute_command_encoder("staging");
        encode(&mut encoder);
        encoder.end_encoding();
        commands.end()?;
        queue.commit(&[&commands])?.wait_until_completed()?;
        Ok(())
    }
}

/// So many bytes of a filling.
fn bytes(fill: &Fill, size: u64) -> Vec<u8> {
    let count = size.div_ceil(4);
    let mut bytes: Vec<u8> = match fill {
        Fill::Picture(texels) => texels.clone(),
        Fill::Nothing => vec![0; size as usize],
        Fill::Word(word) => (0..count).flat_map(|_| word.to_le_bytes()).collect(),
        Fill::Ascending => (0..count).flat_map(|word| (word as u32).to_le_bytes()).collect(),
        Fill::Random(seed) => {
            (0..count).flat_map(|word| random(seed.wrapping_add(word)).to_le_bytes()).collect()
        }
    };
    bytes.resize(size as usize, 0);
    bytes
}

/// The word of a number: a mixing function, so that each word depends on its place alone.
fn random(number: u64) -> u32 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32
}
