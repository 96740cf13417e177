use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;

use mayfly_control_store::{By, Token, User};
use mayfly_runtime::report;
use mayfly_types::{IpRange, TokenId};
use tracing::warn;

use crate::cloud::Cloud;

/// Beyond so many the store is asked again.
const KNOWN_MAX: usize = 16_384;

/// Where tokens were used from, as far as this process knows: what is here is in the store.
#[derive(Default)]
pub(crate) struct TokenSources(Mutex<HashSet<(TokenId, IpRange)>>);

impl TokenSources {
    fn knows(&self, seen: (TokenId, IpRange)) -> bool {
        let known = self.0.lock().expect("no holder of this lock panics");
        known.contains(&seen)
    }

    fn add(&self, seen: (TokenId, IpRange)) {
        let mut known = self.0.lock().expect("no holder of this lock panics");
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(seen);
    }
}

impl Cloud {
    /// Leaves an event if a token that was made for others comes from somewhere for the first time. A store that takes
    /// nothing now, such as on a full disk, is asked again the next time: that is no reason to refuse anybody.
    pub(crate) async fn note_source(&self, token: &Token, user: &User, source: Option<IpAddr>) {
        let Some(source) = source.map(range_of) else {
            return;
        };
        let seen = (token.id, source);
        if self.token_sources.knows(seen) {
            return;
        }
        let by = By::user(self.now(), user.id, None);
        match self.store.note_token_source(token, source, by).await {
            Ok(()) => self.token_sources.add(seen),
            Err(error) => warn!(error = report(&error), "the source of a token is not noted"),
        }
    }
}

/// One place: an address, or of IPv6 the 64 bits that one customer has.
fn range_of(source: IpAddr) -> IpRange {
    match source.to_canonical() {
        IpAddr::V6(address) if address != Ipv6Addr::LOCALHOST => {
            IpRange::new(address.into(), 64).expect("an address of IPv6 has 128 bits")
        }
        address => address.into(),
    }
}
