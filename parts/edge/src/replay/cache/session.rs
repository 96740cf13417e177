use mayfly_machine::{ReplayCacheKey, ReplayCacheRule};
use sha2::{Digest as _, Sha256};

use super::Request;

/// One session at one host under one rule. The value that names it is kept as a digest: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session([u8; 32]);

impl Session {
    /// The session of a request, and the rule that says so: of those whose path matches and whose cookie or header the
    /// request has, the one with the longest path.
    pub(super) fn of<'a>(
        rules: &'a [ReplayCacheRule],
        request: Request<'_>,
    ) -> Option<(Session, &'a ReplayCacheRule)> {
        let mut best: Option<(usize, Session, &ReplayCacheRule)> = None;
        for rule in rules {
            let Some(length) = matched(&rule.path_prefix, request) else {
                continue;
            };
            if best
                .as_ref()
                .is_some_and(|(longest, ..)| *longest >= length)
            {
                continue;
            }
            if let Some(session) = Session::under(rule, request) {
                best = Some((length, session, rule));
            }
        }
        best.map(|(_, session, rule)| (session, rule))
    }

    fn under(rule: &ReplayCacheRule, request: Request<'_>) -> Option<Session> {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(request.host.as_bytes());
        part(rule.path_prefix.as_bytes());
        let mut found = false;
        match &rule.key {
            ReplayCacheKey::Cookie(name) => {
                part(b"cookie");
                part(name.as_bytes());
                request.fields.each("cookie", &mut |line| {
                    if let Some(value) = cookie(line, name.as_bytes()) {
                        part(value);
                        found = true;
                    }
                    !found
                });
            }
            ReplayCacheKey::Header(name) => {
                let name = name.to_ascii_lowercase();
                part(b"header");
                part(name.as_bytes());
                request.fields.each(&name, &mut |value| {
                    part(value);
                    found |= !value.is_empty();
                    true
                });
            }
        }
        found.then(|| Session(digest.finalize().into()))
    }
}

/// The value of a cookie in one `Cookie` line (RFC 6265, 4.2.1); empty ones are none.
fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

/// How long the part of the path is that `[host]/path[/*]` matches; `None` if it does not.
fn matched(prefix: &str, request: Request<'_>) -> Option<usize> {
    let slash = prefix.find('/').unwrap_or(prefix.len());
    let (host, path) = prefix.split_at(slash);
    if !host.is_empty() && !host.eq_ignore_ascii_case(request.host) {
        return None;
    }
    let path = path.strip_suffix('*').unwrap_or(path).trim_end_matches('/');
    let rest = request.path.strip_prefix(path)?;
    // A rule for one host is more exact than one for all.
    (rest.is_empty() || rest.starts_with('/'))
        .then_some(2 * path.len() + usize::from(!host.is_empty()))
}
