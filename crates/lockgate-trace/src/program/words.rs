//! The words of program files for stages, masks and modes.

use super::Reader;
use super::node::{Node, Spanned};
use lockgate_runtime::{StorageMode, TextureType};
use lockgate_sync::{
    BarrierScope, ChainThroughEmptyPass, ConsumerTargets, EventScope, Hazard, Stage, Stages,
    VisibilityOptions,
};

pub(super) const STORAGE: &[(&str, StorageMode)] =
    &[("shared", StorageMode::Shared), ("private", StorageMode::Private)];

pub(super) const TEXTURE_TYPES: &[(&str, TextureType)] = &[
    ("1d", TextureType::D1),
    ("2d", TextureType::D2),
    ("2d-array", TextureType::D2Array),
    ("cube", TextureType::Cube),
    ("cube-array", TextureType::CubeArray),
    ("3d", TextureType::D3),
];

pub(super) const HAZARDS: &[(&str, Hazard)] = &[
    ("read-after-write", Hazard::ReadAfterWrite),
    ("write-after-read", Hazard::WriteAfterRead),
    ("write-after-write", Hazard::WriteAfterWrite),
];

pub(super) const VISIBILITY: &[(&str, VisibilityOptions)] = &[
    ("none", VisibilityOptions::empty()),
    ("device", VisibilityOptions::DEVICE),
    ("resource-alias", VisibilityOptions::RESOURCE_ALIAS),
];

pub(super) const SCOPES: &[(&str, BarrierScope)] = &[
    ("none", BarrierScope::empty()),
    ("buffers", BarrierScope::BUFFERS),
    ("textures", BarrierScope::TEXTURES),
    ("render-targets", BarrierScope::RENDER_TARGETS),
];

pub(super) const CONSUMER_TARGETS: &[(&str, ConsumerTargets)] = &[
    ("later-passes-too", ConsumerTargets::LaterPassesToo),
    ("current-pass-only", ConsumerTargets::CurrentPassOnly),
];

pub(super) const EVENT_SCOPES: &[(&str, EventScope)] =
    &[("command-buffer", EventScope::CommandBuffer), ("queue", EventScope::Queue)];

pub(super) const CHAINS: &[(&str, ChainThroughEmptyPass)] =
    &[("broken", ChainThroughEmptyPass::Broken), ("kept", ChainThroughEmptyPass::Kept)];

/// The word of a hazard.
pub(crate) fn hazard_word(hazard: Hazard) -> &'static str {
    HAZARDS.iter().find(|(_, own)| *own == hazard).map_or("hazard", |(word, _)| word)
}

/// `MTLStages.all` as Metal's headers write it: bits beyond the stages are set, and mean nothing (A20).
pub(super) const MTL_ALL: Stages = Stages::from_bits_retain(i64::MAX as u64);

/// The words of stages, `all`, `mtl-all` and `none` included.
pub(super) fn stage_words() -> Vec<(&'static str, Stages)> {
    let named = Stage::EVERY.iter().filter(|stage| !stage.mask().is_empty());
    let mut words: Vec<_> = named.map(|stage| (stage.name(), stage.mask())).collect();
    words.extend([("all", Stages::ALL), ("mtl-all", MTL_ALL), ("none", Stages::empty())]);
    words
}

impl<'a> Reader<'a> {
    /// Words joined by `|`, as one mask.
    pub(super) fn mask<T: Copy>(
        &self,
        node: &Node<'a>,
        name: &'static str,
        words: &[(&str, T)],
        join: impl Fn(T, T) -> T,
    ) -> Option<Spanned<T>> {
        let text = node.prop::<&str>(name)?;
        let parts = text.value.split(['|', ',', ' ']).filter(|part| !part.is_empty());
        let mut mask = None;
        for part in parts {
            match words.iter().find(|(word, _)| *word == part) {
                Some((_, meaning)) => mask = Some(mask.map_or(*meaning, |mask| join(mask, *meaning))),
                None => self.errors.unknown(&text.span, name, part, words.iter().map(|(word, _)| *word)),
            }
        }
        Some(Spanned { value: mask?, span: text.span })
    }

    pub(super) fn stages(&self, node: &Node<'a>, name: &'static str) -> Option<Spanned<Stages>> {
        self.mask(node, name, &stage_words(), |a, b| a | b)
    }
}
