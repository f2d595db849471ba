//! Stand-ins: kernels made for dispatches that only say what they touch.
//!
//! Every word that is written depends on every word that is read and on which command ran, so that each order
//! of execution gives another result. One invocation writes one word of each range.

use lockgate_sync::AccessKind;
use std::fmt::Write;

/// What the names of generated kernels begin with, so that none is a word of WGSL.
pub(super) const PREFIX: &str = "stand_in_";

/// A kernel that touches one range of words per access, at bindings 0, 1, 2 and so on.
pub(super) fn source(entry: &str, seed: u32, accesses: &[(AccessKind, u64)]) -> String {
    let mut text = String::new();
    for (binding, (kind, _)) in accesses.iter().enumerate() {
        let (mode, word) = match (kind.writes(), kind.is_atomic()) {
            (_, true) => ("read_write", "atomic<u32>"),
            (true, _) => ("read_write", "u32"),
            (false, _) => ("read", "u32"),
        };
        let _ = writeln!(
            text,
            "@group(0) @binding({binding}) var<storage, {mode}> range_{binding}: array<{word}>;"
        );
    }
    let _ = writeln!(text, "fn mix(hash: u32, word: u32) -> u32 {{");
    let _ = writeln!(text, "    let h = (hash ^ word) * 0x9e3779b1u;\n    return h ^ (h >> 15u);\n}}");
    let _ = writeln!(text, "@compute @workgroup_size(64)");
    let _ = writeln!(text, "fn {entry}(@builtin(global_invocation_id) id: vec3u) {{");
    let threads = threads(accesses);
    let _ = writeln!(text, "    if id.x >= {threads}u {{ return; }}\n    var hash = {seed}u;");
    for (binding, (kind, words)) in accesses.iter().enumerate() {
        if kind.contains(AccessKind::READ) && !kind.is_atomic() {
            let _ = writeln!(text, "    for (var i = id.x; i < {words}u; i += {threads}u) {{");
            let _ = writeln!(text, "        hash = mix(hash, range_{binding}[i]);\n    }}");
        }
    }
    for (binding, (kind, words)) in accesses.iter().enumerate() {
        if kind.is_atomic() {
            let _ = writeln!(text, "    atomicAdd(&range_{binding}[id.x % {words}u], hash);");
        } else if kind.writes() {
            let _ = writeln!(text, "    if id.x < {words}u {{ range_{binding}[id.x] = mix(hash, id.x); }}");
        }
    }
    // A command that writes nothing still has to read: the compiler may not drop its bindings.
    if !accesses.iter().any(|(kind, _)| kind.writes()) && !accesses.is_empty() {
        let _ = writeln!(text, "    if hash == 0u {{ return; }}");
    }
    text.push_str("}\n");
    text
}

/// As many invocations as the longest range that is written has words; of what is read otherwise.
pub(super) fn threads(accesses: &[(AccessKind, u64)]) -> u64 {
    let longest =
        |writes| accesses.iter().filter(|(kind, _)| kind.writes() == writes).map(|(_, words)| *words).max();
    longest(true).or(longest(false)).unwrap_or(1)
}
