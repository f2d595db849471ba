//! Steps: what queues are given, what command buffers hold, what the host does.

use super::Reader;
use super::file::{Allocation, CommandBuffer, Fill, HostAction, Item, Pass, PassItem, Queue, Step};
use super::node::{Node, Spanned};
use super::scope::Entity;
use super::words::{SCOPES, VISIBILITY};
use kdl::KdlValue;
use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, HostStep, PassDescriptor, PassKind, QueueDescriptor, QueueId,
    QueueKind, Stages, Texels, VisibilityOptions,
};

pub(super) const PASSES: &[(&str, PassKind)] = &[
    ("compute-pass", PassKind::Compute),
    ("blit-pass", PassKind::Blit),
    ("render-pass", PassKind::Render),
    ("ml-pass", PassKind::MachineLearning),
    ("resource-state-pass", PassKind::ResourceState),
    ("io-pass", PassKind::Io),
];

impl<'a> Reader<'a> {
    pub(super) fn declare_queue(&mut self, mut node: Node<'a>) {
        let name = node.arg::<&str>("a name");
        let kind = match node.name() {
            "io-queue" => {
                let kinds = [("concurrent", QueueKind::IoConcurrent), ("serial", QueueKind::IoSerial)];
                node.word("type", &kinds).unwrap_or(QueueKind::IoConcurrent)
            }
            _ => QueueKind::Gpu,
        };
        let hazard_tracking = node.flag("hazard-tracking", true);
        node.finish(true);
        let Some(name) = name else { return };
        // A queue may be continued: the first node decides what it is.
        if !matches!(self.entity(name.value), Some(Entity::Queue(_))) {
            let id = QueueId(self.file.queues.len() as u32);
            self.declare(&name, Entity::Queue(id));
            let descriptor = QueueDescriptor { kind, hazard_tracking };
            self.file.queues.push(Queue { name: name.value.to_owned(), descriptor });
        }
    }

    pub(super) fn queue_steps(&mut self, mut node: Node<'a>) {
        let Some(name) = node.optional_arg::<&str>() else { return };
        let Some(Entity::Queue(queue)) = self.entity(name.value) else { return };
        for mut child in node.children() {
            let span = child.span();
            let step = match child.name() {
                "command-buffer" => {
                    let buffer = self.command_buffer(child, queue);
                    self.commit(queue, "", vec![buffer])
                }
                "commit" => {
                    let name = child.optional_arg::<&str>().map_or("", |name| name.value);
                    child.finish(true);
                    let mut buffers = Vec::new();
                    for child in child.children() {
                        match child.name() {
                            "command-buffer" => buffers.push(self.command_buffer(child, queue)),
                            other => {
                                self.errors.unknown(&child.span(), "node", other, ["command-buffer"]);
                            }
                        }
                    }
                    self.commit(queue, name, buffers)
                }
                "signal" => {
                    let event = self.event_arg(&mut child);
                    child.finish(false);
                    let Some((event, value)) = event else { continue };
                    Step::SignalEvent { queue, event, value }
                }
                "wait" => {
                    let event = self.event_arg(&mut child);
                    child.finish(false);
                    let Some((event, value)) = event else { continue };
                    Step::WaitForEvent { queue, event, value }
                }
                "enqueue-barrier" => {
                    child.finish(false);
                    Step::EnqueueBarrier { queue }
                }
                "wait-for-drawable" | "signal-drawable" => {
                    let wait = child.name() == "wait-for-drawable";
                    let drawable = self.resource_arg(&mut child);
                    child.finish(false);
                    let Some((drawable, _)) = drawable else { continue };
                    match wait {
                        true => Step::WaitForDrawable { queue, drawable },
                        false => Step::SignalDrawable { queue, drawable },
                    }
                }
                other => {
                    let known = [
                        "command-buffer",
                        "commit",
                        "signal",
                        "wait",
                        "enqueue-barrier",
                        "wait-for-drawable",
                        "signal-drawable",
                    ];
                    self.errors.unknown(&child.span(), "node", other, known);
                    continue;
                }
            };
            self.file.steps.push(Spanned { value: step, span });
        }
    }

    fn commit(&mut self, queue: QueueId, name: &str, buffers: Vec<CommandBuffer>) -> Step {
        let number = self.scope.commit_count;
        self.scope.commit_count += 1;
        for name in
            buffers.iter().map(|buffer| buffer.name.as_str()).chain([name]).filter(|name| !name.is_empty())
        {
            self.scope.commits.insert(name.to_owned(), number);
        }
        Step::Commit { queue, buffers }
    }

    fn command_buffer(&mut self, mut node: Node<'a>, queue: QueueId) -> CommandBuffer {
        let name = node.optional_arg::<&str>().map_or("", |name| name.value).to_owned();
        node.finish(true);
        let span = node.span();
        let io = self.file.queues[queue.index()].descriptor.kind != QueueKind::Gpu;
        let mut items = Vec::new();
        // Loads of an IO queue stand in the command buffer itself: they are its one pass.
        let loads = |child: &Node<'_>| matches!(child.name(), "load" | "barrier");
        if io && node.children().any(|child| loads(&child)) {
            items = self.io_items(&node);
        } else {
            for child in node.children() {
                items.extend(self.spanned_item(child));
            }
        }
        CommandBuffer { name, span, items }
    }

    fn spanned_item(&mut self, node: Node<'a>) -> Option<Spanned<Item>> {
        let span = node.span();
        self.item(node).map(|value| Spanned { value, span })
    }

    fn item(&mut self, mut node: Node<'a>) -> Option<Item> {
        if let Some((_, kind)) = PASSES.iter().find(|(word, _)| *word == node.name()) {
            return Some(Item::Pass(self.pass(node, *kind)));
        }
        match node.name() {
            "signal-event" | "signal" | "wait-for-event" | "wait" => {
                let signals = node.name().starts_with("signal");
                let event = self.event_arg(&mut node);
                node.finish(false);
                let (event, value) = event?;
                Some(if signals {
                    Item::SignalEvent { event, value }
                } else {
                    Item::WaitForEvent { event, value }
                })
            }
            "allocate" | "make-aliasable" => self.allocation(node).map(Item::Allocation),
            other => {
                let known = ["signal-event", "wait-for-event", "allocate", "make-aliasable"];
                let known = PASSES.iter().map(|(word, _)| *word).chain(known);
                self.errors.unknown(&node.span(), "node", other, known);
                None
            }
        }
    }

    fn pass(&mut self, mut node: Node<'a>, kind: PassKind) -> Pass {
        let name = node.optional_arg::<&str>().map_or("", |name| name.value).to_owned();
        let mut descriptor = PassDescriptor::new(kind);
        descriptor.serial = node.flag("serial", descriptor.serial);
        descriptor.resuming = node.flag("resuming", false);
        node.finish(true);
        let span = node.span();
        let mut pass =
            Pass { name, span, descriptor, loads: Vec::new(), stores: Vec::new(), items: Vec::new() };
        for child in node.children() {
            if child.name() == "attachment" {
                self.attachment(child, &mut pass);
            } else {
                let span = child.span();
                pass.items.extend(self.pass_item(child, &pass).map(|value| Spanned { value, span }));
            }
        }
        pass
    }

    fn io_items(&mut self, node: &Node<'a>) -> Vec<Spanned<Item>> {
        let mut items: Vec<Spanned<Item>> = Vec::new();
        for child in node.children() {
            if !matches!(child.name(), "load" | "barrier") {
                items.extend(self.spanned_item(child));
                continue;
            }
            let span = child.span();
            let mut pass = match items.pop() {
                Some(Spanned { value: Item::Pass(pass), .. }) => pass,
                other => {
                    items.extend(other);
                    Pass {
                        name: String::new(),
                        span: span.clone(),
                        descriptor: PassDescriptor::new(PassKind::Io),
                        loads: Vec::new(),
                        stores: Vec::new(),
                        items: Vec::new(),
                    }
                }
            };
            let item = self.pass_item(child, &pass);
            pass.items.extend(item.map(|value| Spanned { value, span }));
            items.push(Spanned { span: pass.span.clone(), value: Item::Pass(pass) });
        }
        items
    }

    /// What an attachment loads and stores (`load`, `clear`, `dont-care`; `store`, `dont-care`).
    fn attachment(&mut self, mut node: Node<'a>, pass: &mut Pass) {
        let texture = self.resource_arg(&mut node);
        let load =
            [("load", AccessKind::READ), ("clear", AccessKind::WRITE), ("dont-care", AccessKind::WRITE)];
        let load = node.word("load", &load).unwrap_or(AccessKind::READ);
        let store = node.word("store", &[("store", true), ("dont-care", false)]).unwrap_or(true);
        let level = node.prop::<u16>("level").map_or(0, |level| level.value);
        let slice = node.prop::<u16>("slice").map_or(0, |slice| slice.value);
        node.finish(false);
        if pass.descriptor.kind != PassKind::Render {
            node.error("wrong-pass", "only a render pass has attachments");
        }
        let Some((texture, span)) = texture else { return };
        if self.file.resource(texture).is_buffer() {
            self.errors.at(&span, "wrong-kind", "an attachment is a texture", "");
        }
        let touch = |kind| {
            Access::texels(texture, Texels::subresource(level, slice), kind | AccessKind::RASTER_ORDERED)
        };
        pass.loads.push(touch(load));
        if store {
            pass.stores.push(touch(AccessKind::WRITE));
        }
    }

    fn pass_item(&mut self, mut node: Node<'a>, pass: &Pass) -> Option<PassItem> {
        let reach = match node.name() {
            "intrapass-barrier" => BarrierReach::Intrapass,
            "barrier" if pass.descriptor.kind == PassKind::Io => BarrierReach::Intrapass,
            "producer-barrier" => BarrierReach::Producer,
            "consumer-barrier" => BarrierReach::Consumer,
            "memory-barrier" => return self.memory_barrier(node),
            "update-fence" => {
                let fence = self.fence_arg(&mut node);
                let after = self.stages(&node, "after").map_or(Stages::ALL, |stages| stages.value);
                node.finish(false);
                return Some(PassItem::UpdateFence { fence: fence?, after });
            }
            "wait-for-fence" => {
                let fence = self.fence_arg(&mut node);
                let before = self.stages(&node, "before").map_or(Stages::ALL, |stages| stages.value);
                node.finish(false);
                return Some(PassItem::WaitForFence { fence: fence?, before });
            }
            "allocate" | "make-aliasable" => return self.allocation(node).map(PassItem::Allocation),
            _ => return self.command(node, pass).map(PassItem::Command),
        };
        let after = self.stages(&node, "after");
        let before = self.stages(&node, "before");
        let visibility = self.mask(&node, "visibility", VISIBILITY, |a, b| a | b);
        let misuse = node.flag("misuse", false);
        node.finish(false);
        if reach == BarrierReach::Intrapass && !misuse {
            let kind = pass.descriptor.kind;
            self.check_stages(&after, kind.intrapass_sources());
            self.check_stages(&before, kind.stages());
        }
        let all = |stages: Option<Spanned<Stages>>| stages.map_or(Stages::ALL, |stages| stages.value);
        let visibility = visibility.map_or(VisibilityOptions::DEVICE, |visibility| visibility.value);
        Some(PassItem::Barrier(reach, Barrier { after: all(after), before: all(before), visibility }))
    }

    fn check_stages(&self, given: &Option<Spanned<Stages>>, legal: Stages) {
        let Some(given) = given else { return };
        let foreign = given.value - legal;
        if given.value.contains(Stages::ALL) || foreign.is_empty() {
            return;
        }
        let names = |mask: Stages| {
            let named =
                super::words::stage_words().into_iter().filter(|(_, bit)| bit.bits().count_ones() == 1);
            let names: Vec<&str> =
                named.filter(|(_, bit)| mask.contains(*bit)).map(|(name, _)| name).collect();
            names.join(", ")
        };
        let message =
            format!("an intrapass barrier cannot name {} on this side of this pass", names(foreign));
        let label = format!("it can name {}", names(legal));
        self.errors.at(&given.span, "wrong-stage", message, label);
    }

    fn memory_barrier(&mut self, node: Node<'a>) -> Option<PassItem> {
        let after = self.stages(&node, "after").map_or(Stages::DISPATCH, |stages| stages.value);
        let before = self.stages(&node, "before").map_or(Stages::DISPATCH, |stages| stages.value);
        let scope = self.mask(&node, "scope", SCOPES, |a, b| a | b);
        let resources = node.prop::<&str>("resources");
        node.finish(false);
        if let Some(list) = resources {
            let names = list.value.split(['|', ',', ' ']).filter(|name| !name.is_empty() && *name != "none");
            let named = |name| Spanned { value: name, span: list.span.clone() };
            let resources = names.filter_map(|name| self.find_resource(&named(name))).collect();
            return Some(PassItem::MemoryBarrierWithResources { after, before, resources });
        }
        let Some(scope) = scope else {
            node.error("missing-property", "`memory-barrier` needs the property `scope` or `resources`");
            return None;
        };
        Some(PassItem::MemoryBarrierWithScope { after, before, scope: scope.value })
    }

    pub(super) fn allocation(&mut self, mut node: Node<'a>) -> Option<Allocation> {
        if node.name() == "allocate" {
            let before = self.file.resources.len();
            match node.prop::<&KdlValue>("size") {
                Some(_) => self.buffer(node, None, true),
                None => self.texture(node, None, true),
            }
            let made = self.file.resources.len() > before;
            return made.then_some(Allocation::Allocate(lockgate_sync::ResourceId(before as u32)));
        }
        let resource = self.resource_arg(&mut node);
        node.finish(false);
        let (id, span) = resource?;
        let (heap, offset, size) = {
            let resource = self.file.resource(id);
            (resource.heap, resource.offset, resource.size())
        };
        match heap.map(|heap| &mut self.file.heaps[heap]) {
            Some(heap) if heap.kind == lockgate_runtime::HeapType::Automatic => {
                heap.free.give_back(offset, size);
                Some(Allocation::MakeAliasable(id))
            }
            _ => {
                let message = "only a resource of an automatic heap can be made aliasable";
                self.errors.at(&span, "wrong-place", message, "");
                None
            }
        }
    }

    pub(super) fn present(&mut self, mut node: Node<'a>) {
        let span = node.span();
        let drawable = self.resource_arg(&mut node);
        node.finish(false);
        if let Some((drawable, _)) = drawable {
            self.file.steps.push(Spanned { value: Step::Present { drawable }, span });
        }
    }

    pub(super) fn host(&mut self, node: Node<'a>) {
        node.finish(true);
        for child in node.children() {
            let span = child.span();
            if let Some((step, fill)) = self.host_step(child) {
                let value = Step::Host(HostAction { step, span: span.clone(), fill });
                self.file.steps.push(Spanned { value, span });
            }
        }
    }

    fn host_step(&mut self, mut node: Node<'a>) -> Option<(HostStep, Fill)> {
        let step = match node.name() {
            "read" | "write" | "read-write" | "update" => {
                let fill = self.fill(&node);
                let idle = node.flag("when-idle", false);
                let kind = match node.name() {
                    "read" => AccessKind::READ,
                    "write" => AccessKind::WRITE,
                    "update" => AccessKind::ATOMIC,
                    _ => AccessKind::READ | AccessKind::WRITE,
                };
                let access = self.access(node, kind)?;
                let step = if idle { HostStep::AccessWhenIdle(access) } else { HostStep::Access(access) };
                return Some((step, fill));
            }
            "signal" => {
                let (event, value) = self.event_arg(&mut node)?;
                HostStep::SignalEvent { event, value }
            }
            "wait" => {
                let (event, value) = self.event_arg(&mut node)?;
                HostStep::WaitForEvent { event, value }
            }
            "wait-for-commit" => {
                let name = node.arg::<&KdlValue>("the name or number of a commit")?;
                let commit = match name.value.as_string() {
                    Some(text) => self.scope.commits.get(text).copied(),
                    None => name.value.as_integer().and_then(|number| u64::try_from(number).ok()),
                };
                if commit.is_none() {
                    let known: Vec<&str> = self.scope.commits.keys().map(String::as_str).collect();
                    let text = name.value.to_string();
                    self.errors.unknown(&name.span, "commit above", &text, known);
                }
                HostStep::WaitForCommit { commit: commit? }
            }
            other => {
                let known = ["read", "write", "read-write", "update", "signal", "wait", "wait-for-commit"];
                self.errors.unknown(&node.span(), "node", other, known);
                return None;
            }
        };
        node.finish(false);
        Some((step, Fill::Nothing))
    }
}
