//! Which files belong to a build's context: the rules of `.dockerignore`,
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>.

/// The rules of one file, in order.
#[derive(Clone, Debug, Default)]
pub struct ContextRules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    /// Begins with `!`: takes back in what earlier rules left out.
    exception: bool,
    /// What everything it matches begins with, as far as its names are plain.
    under: Vec<String>,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {rule} is no pattern: {why}")]
pub struct InvalidContextRule {
    /// From 1.
    pub line: usize,
    pub rule: String,
    pub why: &'static str,
}

/// What the rules say about one path; those below it begin with it.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    matched: Vec<bool>,
    pub left_out: bool,
}

impl ContextRules {
    /// # Errors
    /// The first line that is no pattern.
    pub fn read(text: &str) -> Result<Self, InvalidContextRule> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (exception, path) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let invalid = |why| InvalidContextRule {
                line: number + 1,
                rule: line.to_owned(),
                why,
            };
            if path.is_empty() {
                match exception {
                    true => return Err(invalid("nothing follows the !")),
                    false => continue,
                }
            }
            let path = clean(path);
            // The context itself is never left out.
            if path == "." {
                continue;
            }
            let names: Vec<&str> = path.split('/').collect();
            let plain = |name: &&&str| !name.contains(['*', '?', '[', '\\']);
            rules.push(Rule {
                pattern: Pattern::read(&path).map_err(invalid)?,
                exception,
                under: names
                    .iter()
                    .take_while(plain)
                    .map(|name| (*name).to_owned())
                    .collect(),
            });
        }
        Ok(Self(rules))
    }

    /// Judges a path (from the context's root, with `/` between names) by what was said of the directory it is in; of the
    /// root nothing was said.
    pub fn judge(&self, directory: &Judgement, path: &str) -> Judgement {
        let mut judgement = Judgement::default();
        for (index, rule) in self.0.iter().enumerate() {
            let above = directory.matched.get(index).copied().unwrap_or(false);
            let matches = above || rule.pattern.matches(path);
            if matches {
                judgement.left_out = !rule.exception;
            }
            judgement.matched.push(matches);
        }
        judgement
    }

    /// Whether something below a directory that is left out may be taken back in.
    pub fn may_hold_exceptions(&self, directory: &str) -> bool {
        self.0.iter().filter(|rule| rule.exception).any(|rule| {
            let mut names = directory.split('/').zip(&rule.under);
            names.all(|(name, under)| name == under)
        })
    }
}

/// As a path without `.`, `..`, empty names and a slash in front.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    match names.is_empty() {
        true => ".".to_owned(),
        false => names.join("/"),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    One(char),
    /// `?`: anything but a slash.
    Any,
    /// `*`: as many of those as there are.
    Name,
    /// `**` with more behind it: whole directories, or none.
    Directories,
    /// `**` at the end: all the rest.
    Rest,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Clone, Debug)]
struct Pattern(Vec<Part>);

impl Pattern {
    fn read(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    while chars.next_if_eq(&'*').is_some() {}
                    let _ = chars.next_if_eq(&'/');
                    match chars.peek() {
                        None => Part::Rest,
                        Some(_) => Part::Directories,
                    }
                }
                '*' => Part::Name,
                '?' => Part::Any,
                '[' => class(&mut chars)?,
                '\\' => Part::One(chars.next().ok_or("nothing follows the \\")?),
                other => Part::One(other),
            });
        }
        Ok(Self(parts))
    }

    fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        // Where the path may be continued after the parts so far.
        let mut open = vec![0];
        for part in &self.0 {
            let mut next: Vec<usize> = Vec::new();
            for at in open {
                part.ends(&path, at, &mut next);
            }
            next.sort_unstable();
            next.dedup();
            if next.is_empty() {
                return false;
            }
            open = next;
        }
        open.contains(&path.len())
    }
}

impl Part {
    /// Adds every place where this part may end that begins at `at`.
    fn ends(&self, path: &[char], at: usize, ends: &mut Vec<usize>) {
        let rest = &path[at..];
        let one = rest.first().copied();
        match self {
            Part::One(wanted) => ends.extend((one == Some(*wanted)).then_some(at + 1)),
            Part::Any => ends.extend(one.filter(|char| *char != '/').map(|_| at + 1)),
            Part::Class { negated, ranges } => {
                let within = |char: char| {
                    ranges
                        .iter()
                        .any(|(from, to)| (*from..=*to).contains(&char))
                };
                let fits = one.filter(|char| *char != '/' && within(*char) != *negated);
                ends.extend(fits.map(|_| at + 1));
            }
            Part::Name => {
                let length = rest.iter().take_while(|char| **char != '/').count();
                ends.extend(at..=at + length);
            }
            Part::Directories => {
                ends.push(at);
                let slashes = rest.iter().enumerate().filter(|(_, char)| **char == '/');
                ends.extend(slashes.map(|(offset, _)| at + offset + 1));
            }
            Part::Rest => ends.push(path.len()),
        }
    }
}

/// `[a-z]` or `[^a-z]` behind its bracket.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Part, &'static str> {
    const OPEN: &str = "a [ is not closed";
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| match chars.next() {
        Some('\\') => chars.next().ok_or(OPEN),
        other => other.ok_or(OPEN),
    };
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Part::Class { negated, ranges });
        }
        let from = one(chars)?;
        let to = match chars.next_if_eq(&'-') {
            Some(_) => one(chars)?,
            None => from,
        };
        if to < from {
            return Err("a range in [ ] ends before it begins");
        }
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests;
