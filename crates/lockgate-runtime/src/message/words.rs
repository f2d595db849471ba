//! How stages and extents are written.

use lockgate_sync::{Access, Program, ResourceKind, Stages, Texels};

/// Names of stages, joined by a bar; `all` for all of them, `nothing` for none.
///
/// ```
/// use lockgate_runtime::message::stages;
/// use lockgate_sync::Stages;
/// assert_eq!(stages(Stages::DISPATCH | Stages::BLIT), "dispatch|blit");
/// ```
pub fn stages(stages: Stages) -> String {
    if stages.contains(Stages::ALL) {
        return "all".into();
    }
    let names = lockgate_sync::Stage::EVERY.iter().filter(|stage| stages.intersects(stage.mask()));
    let names: Vec<&str> = names.map(|stage| stage.name()).collect();
    if names.is_empty() { "nothing".into() } else { names.join("|") }
}

/// What of a resource an access touches: `counts[0..256]`, `photo level 1`.
///
/// ```
/// use lockgate_runtime::message::extent;
/// use lockgate_sync::*;
/// let mut program = Program::new();
/// let counts = program.add_buffer(1024, HazardTrackingMode::Untracked);
/// let access = Access::bytes(counts, 0, 256, AccessKind::READ);
/// assert_eq!(extent(&access, &program, "counts"), "counts[0..256]");
/// ```
pub fn extent(access: &Access, program: &Program, name: &str) -> String {
    let Some(resource) = program.resources.get(access.resource.index()) else { return name.to_owned() };
    match resource.kind {
        ResourceKind::Buffer => {
            let (start, end) = access.region.bytes(resource.size);
            format!("{name}[{start}..{end}]")
        }
        ResourceKind::Texture { levels, slices } => {
            let texels = access.region.texels();
            let part = |what: &str, (start, end): (u16, u16), count: u16| match (start, end.min(count)) {
                (0, end) if end == count => String::new(),
                (start, end) if end == start + 1 => format!(" {what} {start}"),
                (start, end) => format!(" {what}s {start}..{end}"),
            };
            let (level, slice) = (part("level", texels.levels, levels), part("slice", texels.slices, slices));
            format!("{name}{level}{slice}{}", texel_box(&texels))
        }
    }
}

fn texel_box(texels: &Texels) -> String {
    let axis = |at: usize, name: char| match (texels.min[at], texels.max[at]) {
        (0, u32::MAX) => String::new(),
        (start, u32::MAX) => format!(" {name} {start}.."),
        (start, end) => format!(" {name} {start}..{end}"),
    };
    [axis(0, 'x'), axis(1, 'y'), axis(2, 'z')].concat()
}

/// An access as a verb.
pub(super) fn verb(access: &Access) -> &'static str {
    use lockgate_sync::AccessKind as K;
    match access.kind {
        kind if kind.is_atomic() => "updates",
        kind if kind.contains(K::READ | K::WRITE) => "reads and writes",
        kind if kind.writes() => "writes",
        _ => "reads",
    }
}
