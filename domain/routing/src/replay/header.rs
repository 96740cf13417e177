//! The header form: `fly-replay: region="sjc,any";app=other;state=x`.

use std::time::Duration;

use super::cache_rule::{self, CacheOrder, CacheRule, UrlPattern};
use super::{InvalidReplay, Replay, app, duration, fallback, instance, regions, state};

/// The fields of one answer that a replay is made of, as they came.
#[derive(Clone, Debug, Default)]
pub struct ReplayHeaders<'a> {
    /// Every `fly-replay` line.
    pub replay: Vec<&'a [u8]>,
    /// `fly-replay-cache`.
    pub cache: Option<&'a [u8]>,
    /// `fly-replay-cache-ttl-secs`.
    pub cache_ttl: Option<&'a [u8]>,
    /// `fly-replay-cache-allow-bypass`.
    pub cache_allow_bypass: Option<&'a [u8]>,
}

impl ReplayHeaders<'_> {
    /// Reads what the lines say; several `fly-replay` lines are one.
    ///
    /// # Errors
    /// The first thing that cannot be understood. What concerns the cache alone is kept in [`Replay::cache`].
    pub fn parse(&self) -> Result<Replay, InvalidReplay> {
        let mut fields = Fields::default();
        for line in &self.replay {
            let line = std::str::from_utf8(line).map_err(|_| InvalidReplay::NotText)?;
            let mut rest = line;
            while let Some((name, value, next)) = next_field(rest)? {
                fields.set(name, &value)?;
                rest = next;
            }
        }
        let mut replay = fields.replay;
        replay.cache = self.cache_order();
        replay.checked()
    }

    fn cache_order(&self) -> Result<Option<CacheOrder>, InvalidReplay> {
        let Some(text) = self.cache else {
            return Ok(None);
        };
        let text = str_of("fly-replay-cache", text)?;
        if text.eq_ignore_ascii_case("invalidate") {
            return Ok(Some(CacheOrder::Invalidate));
        }
        let pattern: UrlPattern = text.parse()?;
        let ttl = str_of(
            "fly-replay-cache-ttl-secs",
            self.cache_ttl.unwrap_or_default(),
        )?;
        let ttl = cache_rule::ttl(
            "fly-replay-cache-ttl-secs",
            ttl,
            ttl.parse().ok().map(Duration::from_secs),
        )?;
        let allow_bypass = match self.cache_allow_bypass {
            None => false,
            Some(text) => match str_of("fly-replay-cache-allow-bypass", text)? {
                "yes" | "true" => true,
                "no" | "false" => false,
                other => {
                    return Err(InvalidReplay::field(
                        "fly-replay-cache-allow-bypass",
                        other,
                        "use yes or no",
                    ));
                }
            },
        };
        Ok(Some(CacheOrder::Keep(CacheRule {
            pattern,
            ttl,
            allow_bypass,
        })))
    }
}

fn str_of<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, InvalidReplay> {
    std::str::from_utf8(bytes)
        .map(str::trim)
        .map_err(|_| InvalidReplay::field(field, "(bytes)", "use text"))
}

/// The fields so far, and which of them were given.
#[derive(Default)]
struct Fields {
    replay: Replay,
    seen: Vec<&'static str>,
}

const NAMES: [&str; 8] = [
    "region",
    "instance",
    "prefer_instance",
    "app",
    "state",
    "elsewhere",
    "timeout",
    "fallback",
];

impl Fields {
    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidReplay> {
        let name = NAMES
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| InvalidReplay::UnknownField(name.chars().take(40).collect()))?;
        if self.seen.contains(&name) {
            return Err(InvalidReplay::Twice(name));
        }
        self.seen.push(name);
        let replay = &mut self.replay;
        match name {
            "region" => replay.regions = Some(regions(value)?),
            "instance" => replay.instance = Some(instance(name, value)?),
            "prefer_instance" => replay.prefer_instance = Some(instance(name, value)?),
            "app" => replay.app = Some(app(value)?),
            "state" => replay.state = Some(state(value)?),
            "elsewhere" => replay.elsewhere = boolean(value)?,
            "timeout" => replay.timeout = Some(timeout(value)?),
            _ => replay.fallback = Some(fallback(value)?),
        }
        Ok(())
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, InvalidReplay> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(InvalidReplay::field("elsewhere", text, "use true or false")),
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, InvalidReplay> {
    duration::parse(text).ok_or_else(|| {
        InvalidReplay::field(
            "timeout",
            text,
            "use a duration of at most an hour, such as 10s or 800ms",
        )
    })
}

/// A field's name, its value and what follows it.
type NextField<'a> = (&'a str, String, &'a str);

/// `None` at the end. Separators are `;` and `,`; empty pieces do not matter.
fn next_field(text: &str) -> Result<Option<NextField<'_>>, InvalidReplay> {
    let text = text.trim_start_matches([' ', '\t', ';', ',']);
    if text.is_empty() {
        return Ok(None);
    }
    let end = text.find(['=', ';', ',', '"']).unwrap_or(text.len());
    let name = text[..end].trim();
    let Some(value) = text[end..].strip_prefix('=') else {
        let piece = text.split([';', ',']).next().unwrap_or_default();
        return Err(InvalidReplay::NotAField(piece.chars().take(40).collect()));
    };
    let value = value.trim_start_matches([' ', '\t']);
    match value.strip_prefix('"') {
        Some(quoted) => {
            let (value, rest) = unquote(quoted)?;
            let rest = rest.trim_start_matches([' ', '\t']);
            if rest.is_empty() || rest.starts_with([';', ',']) {
                Ok(Some((name, value, rest)))
            } else {
                Err(InvalidReplay::NotAField(rest.chars().take(40).collect()))
            }
        }
        None => {
            let end = value.find([';', ',']).unwrap_or(value.len());
            Ok(Some((name, value[..end].trim().to_owned(), &value[end..])))
        }
    }
}

/// A quoted string without its first quote (RFC 9110, 5.6.4), and what follows it.
fn unquote(text: &str) -> Result<(String, &str), InvalidReplay> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Err(InvalidReplay::OpenQuote),
            },
            other => value.push(other),
        }
    }
    Err(InvalidReplay::OpenQuote)
}
