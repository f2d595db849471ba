//! Numbers that depend on resources: `"photo.width * 3 / 2"`, `"tmp@1.size"`.
//!
//! Whole numbers, `+ - * / ( )`, and what resources are: `NAME.size`, and of textures `width`, `height`,
//! `depth`, `levels`, `slices`; `NAME@LEVEL.width` is that of a mip level. Division rounds down. Several
//! numbers stand one after the other, with or without commas.

/// Looks up `NAME.field`, or `NAME@LEVEL.field`.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, Option<u32>, &str) -> Result<u64, String>;

/// How deeply parentheses may nest.
const DEPTH: u32 = 32;

/// All numbers of a text.
pub(super) fn numbers(text: &str, lookup: Lookup<'_>) -> Result<Vec<u64>, String> {
    let mut parser = Parser { rest: text.trim_start(), lookup, depth: 0 };
    let mut values = Vec::new();
    while !parser.rest.is_empty() {
        values.push(parser.sum()?);
        parser.eat(',');
    }
    Ok(values)
}

struct Parser<'a> {
    rest: &'a str,
    lookup: Lookup<'a>,
    depth: u32,
}

impl Parser<'_> {
    fn eat(&mut self, sign: char) -> bool {
        let found = self.rest.strip_prefix(sign);
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    fn sum(&mut self) -> Result<u64, String> {
        let mut value = self.product()?;
        loop {
            let next = if self.eat('+') {
                value.checked_add(self.product()?)
            } else if self.eat('-') {
                value.checked_sub(self.product()?)
            } else {
                return Ok(value);
            };
            value = next.ok_or("the number is below 0 or too large")?;
        }
    }

    fn product(&mut self) -> Result<u64, String> {
        let mut value = self.atom()?;
        loop {
            let next = if self.eat('*') {
                value.checked_mul(self.atom()?)
            } else if self.eat('/') {
                value.checked_div(self.atom()?)
            } else {
                return Ok(value);
            };
            value = next.ok_or("the number is too large, or divided by 0")?;
        }
    }

    fn atom(&mut self) -> Result<u64, String> {
        if self.eat('(') {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(format!("more than {DEPTH} parentheses within each other"));
            }
            let value = self.sum()?;
            self.depth -= 1;
            return if self.eat(')') { Ok(value) } else { Err("a parenthesis is not closed".into()) };
        }
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@');
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(match self.rest.chars().next() {
                Some(c) => format!("`{c}` is no number"),
                None => "a number is missing at the end".into(),
            });
        }
        self.rest = rest.trim_start();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("`{word}` is no whole number"));
        }
        let (name, field) = word.rsplit_once('.').ok_or_else(|| {
            format!("`{word}` is no number: say what of it, as `{word}.size` or `{word}.width`")
        })?;
        match name.split_once('@') {
            None => (self.lookup)(name, None, field),
            Some((name, level)) => {
                let level = level.parse().map_err(|_| format!("`{level}` is no mip level"))?;
                (self.lookup)(name, Some(level), field)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn numbers_are_read_with_the_usual_precedence() {
        let lookup = |name: &str, level: Option<u32>, field: &str| match (name, level, field) {
            ("p", None, "width") => Ok(100),
            ("p", Some(1), "width") => Ok(50),
            _ => Err(format!("no {name}.{field}")),
        };
        let read = |text: &str| numbers(text, &lookup);
        assert_eq!(read("1 + 2 * (3 + 4)"), Ok(vec![15]));
        assert_eq!(read("p.width * 3 / 2, p@1.width 7"), Ok(vec![150, 50, 7]));
        assert_eq!(read("1 / 0"), Err("the number is too large, or divided by 0".into()));
        assert_eq!(read("2 - 3"), Err("the number is below 0 or too large".into()));
        assert_eq!(read("(1"), Err("a parenthesis is not closed".into()));
        assert_eq!(read("p.size"), Err("no p.size".into()));
        assert!(read(&"(".repeat(100_000)).is_err());
        assert!(read("1 +").is_err() && read("?").is_err() && read("p").is_err());
    }
}
