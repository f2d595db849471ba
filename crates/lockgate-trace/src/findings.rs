//! The manual page of each kind of finding: what it means, a program that has it, its message, and the twin that
//! has it not.
//!
//! The pages are the files of `findings/`; `tests/findings.rs` runs what they say.

use lockgate_sync::Code;

macro_rules! pages {
    ($($name:literal)+) => {
        /// Each code with its page.
        const PAGES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../findings/", $name, ".md")))),+];
    };
}

pages! {
    "read-after-write" "write-after-read" "write-after-write" "unordered-queues" "host-access-in-flight"
    "alias-without-order" "order-without-visibility" "alias-without-visibility"
    "barrier-spare" "barrier-too-wide" "fence-spare" "event-spare" "visibility-spare" "wait-too-early"
    "tracking-spare"
    "consumer-within-pass" "intrapass-stages" "fence-never-updated" "fence-wait-after-update" "fence-across-queues"
    "event-never-signaled" "event-cycle" "signal-below-value" "unordered-signals" "tile-only-mask" "stages-foreign"
    "alias-read-before-write" "allocator-in-use" "ignored-timeout" "resource-not-resident" "committed-twice"
    "relies-on-tracking" "relies-on-wide-consumer" "needs-whole-resource-tracking"
    "race-in-dispatch" "uninitialized-read" "out-of-bounds-access"
}

/// The manual page of a code, in Markdown; empty for a code that has none.
///
/// ```
/// use lockgate_sync::Code;
/// let page = lockgate_trace::findings::page(Code::ReadAfterWrite);
/// assert!(page.starts_with("# read-after-write\n"));
/// ```
pub fn page(code: Code) -> &'static str {
    PAGES.iter().find(|(name, _)| *name == code.name()).map_or("", |(_, page)| page)
}

/// What a code means, in a sentence: the first paragraph of its page.
///
/// ```
/// use lockgate_sync::Code;
/// assert!(lockgate_trace::findings::title(Code::EventCycle).ends_with('.'));
/// ```
pub fn title(code: Code) -> &'static str {
    page(code).lines().skip(1).find(|line| !line.is_empty()).unwrap_or("")
}

/// The Rust code of pages, as doctests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../findings/allocator-in-use.md")]
    mod allocator_in_use {}
    #[doc = include_str!("../findings/ignored-timeout.md")]
    mod ignored_timeout {}
    #[doc = include_str!("../findings/resource-not-resident.md")]
    mod resource_not_resident {}
    #[doc = include_str!("../findings/committed-twice.md")]
    mod committed_twice {}
}
