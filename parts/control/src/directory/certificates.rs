use std::collections::BTreeMap;
use std::sync::Arc;

use mayfly_certs::acme::{Method, alpn_certificate};
use mayfly_control_store::{CertificateSource, PendingOrder, StoredCertificate};
use mayfly_edge_api::{Challenge, Directory, ServerCertificate};
use mayfly_runtime::report;
use mayfly_seal::Sealer;
use mayfly_types::{AppId, Secret, Timestamp};
use serde::Deserialize;
use tracing::error;

use crate::certificates::{Shown, sealing_context};

/// Owner and host name: under one of these at most one certificate is served.
type Place = (Option<AppId>, String);

/// What edges show under TLS: certificates, and the answers to authorities that look.
#[derive(Default)]
pub(super) struct Certificates {
    served: BTreeMap<Place, Arc<ServerCertificate>>,
    challenges: Vec<Challenge>,
    /// Certificates shown in handshakes, by what they prove.
    in_handshakes: BTreeMap<String, Arc<ServerCertificate>>,
    /// Certificates of an earlier process by their chain, for their allocations.
    earlier: BTreeMap<String, Arc<ServerCertificate>>,
}

impl Certificates {
    pub(super) fn begun_with(last: &Directory) -> Self {
        let earlier = last.certificates.iter();
        Self {
            earlier: earlier
                .map(|certificate| (certificate.chain.clone(), certificate.clone()))
                .collect(),
            ..Self::default()
        }
    }

    pub(super) fn served(&self) -> Vec<Arc<ServerCertificate>> {
        self.served.values().cloned().collect()
    }

    pub(super) fn challenges(&self) -> Vec<Challenge> {
        self.challenges.clone()
    }

    pub(super) fn replace_all(
        &mut self,
        stored: Vec<StoredCertificate>,
        sealer: &Sealer,
        now: Timestamp,
    ) {
        self.put(stored, sealer, now);
        self.earlier.clear();
    }

    /// Takes what is stored for `owners` in the place of what was served for them.
    pub(super) fn replace(
        &mut self,
        owners: &[Option<AppId>],
        stored: Vec<StoredCertificate>,
        sealer: &Sealer,
        now: Timestamp,
    ) {
        for certificate in self.served.values() {
            let chain = certificate.chain.clone();
            self.earlier.insert(chain, certificate.clone());
        }
        self.served.retain(|(owner, _), _| !owners.contains(owner));
        self.put(stored, sealer, now);
        self.earlier.clear();
    }

    fn put(&mut self, stored: Vec<StoredCertificate>, sealer: &Sealer, now: Timestamp) {
        let mut chosen: BTreeMap<Place, StoredCertificate> = BTreeMap::new();
        for certificate in stored {
            let place = (certificate.app_id, certificate.hostname.clone());
            let better = chosen
                .get(&place)
                .is_none_or(|other| rank(&certificate, now) > rank(other, now));
            if better {
                chosen.insert(place, certificate);
            }
        }
        for (place, stored) in chosen {
            if let Some(certificate) = self.opened(stored, sealer) {
                self.served.insert(place, certificate);
            }
        }
    }

    fn opened(&self, stored: StoredCertificate, sealer: &Sealer) -> Option<Arc<ServerCertificate>> {
        let owner = stored.app_id.map(|app| app.to_string()).unwrap_or_default();
        let context = sealing_context(&owner, &stored.hostname);
        let key = match sealer.open_sealed(&stored.sealed_key, &context) {
            Ok(key) => Secret::new(String::from_utf8_lossy(&key)),
            Err(failure) => {
                let failure = report(&failure);
                error!(
                    hostname = stored.hostname,
                    error = failure,
                    "a certificate cannot be served"
                );
                return None;
            }
        };
        // A user's certificate serves the name it was brought for, the platform's serves all it was made for.
        let hostnames = match stored.app_id {
            Some(_) => vec![stored.hostname],
            None => stored.names,
        };
        let fresh = ServerCertificate {
            hostnames,
            chain: stored.chain,
            key,
        };
        match self.earlier.get(&fresh.chain) {
            Some(known) if **known == fresh => Some(known.clone()),
            _ => Some(Arc::new(fresh)),
        }
    }

    /// Takes what the orders under way want to be shown. Answers that stay keep their certificate.
    pub(super) fn show(&mut self, orders: &[PendingOrder]) {
        let mut challenges = Vec::new();
        for order in orders {
            let proofs = order.proofs.as_ref();
            let shown = proofs.and_then(|proofs| Vec::<Shown>::deserialize(proofs).ok());
            for shown in shown.unwrap_or_default() {
                match Method::from_text(&order.method) {
                    Some(Method::Http01) => challenges.push(Challenge::Http01 {
                        hostname: shown.hostname,
                        token: shown.token,
                        response: shown.key_authorization,
                    }),
                    Some(Method::TlsAlpn01) => challenges.extend(self.in_handshake(shown, order)),
                    // Shown in DNS by the owner, or by us if the owner's name leads to ours.
                    Some(Method::Dns01) => challenges.push(Challenge::Dns01 {
                        hostname: shown.hostname,
                        value: shown.dns_value,
                    }),
                    None => {}
                }
            }
        }
        let in_use = |held: &Arc<ServerCertificate>| {
            challenges.iter().any(|challenge| {
                matches!(challenge, Challenge::TlsAlpn01 { certificate, .. } if Arc::ptr_eq(certificate, held))
            })
        };
        self.in_handshakes.retain(|_, held| in_use(held));
        self.challenges = challenges;
    }

    fn in_handshake(&mut self, shown: Shown, order: &PendingOrder) -> Option<Challenge> {
        let certificate = match self.in_handshakes.get(&shown.key_authorization) {
            Some(known) => known.clone(),
            None => match alpn_certificate(&shown.hostname, &shown.key_authorization) {
                Ok(certificate) => Arc::new(certificate),
                Err(failure) => {
                    let failure = report(&failure);
                    error!(
                        hostname = order.hostname,
                        error = failure,
                        "a challenge cannot be shown"
                    );
                    return None;
                }
            },
        };
        self.in_handshakes
            .insert(shown.key_authorization, certificate.clone());
        Some(Challenge::TlsAlpn01 {
            hostname: shown.hostname,
            certificate,
        })
    }
}

/// What the user brought comes first, as long as it is valid.
fn rank(certificate: &StoredCertificate, now: Timestamp) -> (bool, bool) {
    let custom = certificate.source == CertificateSource::Custom;
    (certificate.not_after > now, custom)
}
