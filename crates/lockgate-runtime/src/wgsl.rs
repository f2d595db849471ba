//! What WGSL says and naga does not read: `enable subgroups;`. Subgroups need no leave in naga, so the word is blanked.
//!
//! Directives come before all else, so only comments have to be skipped. Positions in the text stay the same.

use std::borrow::Cow;

/// The text with `subgroups` taken out of its enable directives.
pub(crate) fn without_subgroups(source: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(source);
    let mut at = 0;
    while let Some((start, end)) = directive(source, at) {
        at = end + 1;
        let Some(list) = source[start..end].strip_prefix("enable") else { continue };
        let is_it = |name: &str| name.trim() == "subgroups";
        if list.split(',').all(|name| is_it(name) || name.trim().is_empty()) {
            blank(&mut text, start..at);
            continue;
        }
        let mut from = end - list.len();
        for name in list.split(',') {
            let next = from + name.len();
            if is_it(name) {
                // With the comma behind, or the one before if it is the last.
                let first = from + name.len() - name.trim_start().len();
                blank(&mut text, first..if next < end { next + 1 } else { next });
                blank(&mut text, if next < end { from..from } else { from - 1..from });
            }
            from = next + 1;
        }
    }
    text
}

/// Spaces where there was text, so that lines stay lines.
fn blank(text: &mut Cow<'_, str>, range: std::ops::Range<usize>) {
    let spaces: String = text[range.clone()]
        .chars()
        .flat_map(|c| std::iter::repeat_n(if c == '\n' { c } else { ' ' }, c.len_utf8()))
        .collect();
    if !range.is_empty() {
        text.to_mut().replace_range(range, &spaces);
    }
}

/// Start and semicolon of the next directive from a position on.
fn directive(source: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let rest = source.get(at..)?;
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if trimmed.starts_with("//") {
            at += trimmed.find('\n')?;
        } else if trimmed.starts_with("/*") {
            at += comment(trimmed)?;
        } else {
            break;
        }
    }
    let rest = &source[at..];
    let is = |word: &str| rest.strip_prefix(word).is_some_and(|rest| rest.starts_with(char::is_whitespace));
    if !(is("enable") || is("requires") || rest.starts_with("diagnostic")) {
        return None;
    }
    let end = rest.find(';')?;
    // A comment inside is left to naga.
    (!rest[..end].contains('/')).then_some((at, at + end))
}

/// Bytes of a block comment, which may hold others.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0u32, 0);
    loop {
        let next = text.get(at..)?.find(['/', '*'])? + at;
        match text.get(next..next + 2) {
            Some("/*") => (depth, at) = (depth + 1, next + 2),
            Some("*/") => (depth, at) = (depth - 1, next + 2),
            _ => at = next + 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_subgroups;

    #[test]
    fn only_the_word_goes() {
        for (given, expected) in [
            ("enable subgroups;\nfn f() {}", "                 \nfn f() {}"),
            ("/* a /* b */ */ enable f16, subgroups; x", "/* a /* b */ */ enable f16           ; x"),
            (
                "// enable subgroups;\nenable subgroups,\nf16;",
                "// enable subgroups;\nenable           \nf16;",
            ),
            ("enable f16; enable subgroups;", "enable f16;                  "),
            ("fn f() {} enable subgroups;", "fn f() {} enable subgroups;"),
            ("requires a;\nenable subgroups ;", "requires a;\n                  "),
            ("enable subgroups", "enable subgroups"),
            ("/* enable subgroups;", "/* enable subgroups;"),
            ("ä", "ä"),
        ] {
            let got = without_subgroups(given);
            assert_eq!(got, expected);
            assert_eq!(got.len(), given.len());
        }
    }
}
