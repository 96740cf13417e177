//! The steps from wanting a certificate to having it. Each is journaled, so that a crash between two continues.

use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::acme::{
    Acme, AcmeAccount, AcmeError, AcmeOrder, Method, Proof, Stage, fresh_key,
};
use mayfly_certs::{AuthorityError, CertificatePair, PairError};
use mayfly_control_store::{CertificateSource, NewCertificate, PendingOrder, StoreError};
use mayfly_runtime::report;
use mayfly_seal::SealError;
use mayfly_types::{AppId, Hostname, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::info;

use super::sealing_context;
use crate::cloud::Cloud;

/// The name under which `local` certificates say who issued them.
pub(super) const LOCAL: &str = "local";

/// Edges follow the directory within milliseconds; they get this long before the authority is told to look.
const SHOW_FIRST: Duration = Duration::from_millis(500);

/// How long one turn stays with an order that is moving.
const POLLS: u32 = 10;
const POLL_EVERY: Duration = Duration::from_secs(1);

/// What edges show to an authority, as it is stored with the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) hostname: String,
    pub(crate) token: String,
    pub(crate) key_authorization: String,
    pub(crate) dns_value: String,
}

/// For whom and what.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// `None` for the platform.
    pub(super) app: Option<AppId>,
    /// Under what it is kept.
    pub(super) hostname: String,
    pub(super) names: Vec<Hostname>,
    /// How the names are to be proved, if a new order is made now.
    pub(super) method: Method,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) enum Outcome {
    Issued,
    /// Nothing is wrong; look again after this.
    Waiting(Duration),
    /// The order is over, and why.
    Failed {
        code: &'static str,
        reason: String,
    },
    Limited(Timestamp),
}

/// Why a turn was cut short; nothing is lost, the next goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("talk to the certificate authority")]
    Acme(#[from] AcmeError),
    #[error("use the local authority")]
    Authority(#[from] AuthorityError),
    #[error("open what was sealed")]
    Seal(#[from] SealError),
    #[error("check what the authority sent")]
    Pair(#[from] PairError),
}

/// Obtains certificates.
pub(super) struct Issuer {
    cloud: Arc<Cloud>,
    account: Mutex<Option<AcmeAccount>>,
}

impl Issuer {
    pub(super) fn new(cloud: Arc<Cloud>) -> Self {
        Self {
            cloud,
            account: Mutex::new(None),
        }
    }

    /// From the local authority, at once.
    pub(super) async fn issue_locally(&self, wanted: &Wanted) -> Result<(), IssueError> {
        let cloud = &self.cloud;
        let names: Vec<String> = wanted.names.iter().map(Hostname::to_string).collect();
        let pair = cloud.certificates.authority.issue(
            &names,
            cloud.settings.certificates.local_lifetime,
            cloud.now(),
            cloud.entropy.as_ref(),
        )?;
        self.keep(wanted, pair, LOCAL.to_owned()).await
    }

    async fn keep(
        &self,
        wanted: &Wanted,
        pair: CertificatePair,
        authority: String,
    ) -> Result<(), IssueError> {
        let certificate = self.cloud.kept(
            wanted.app,
            &wanted.hostname,
            CertificateSource::Fly,
            pair,
            authority,
        );
        info!(
            hostname = wanted.hostname,
            serial = certificate.serial,
            expires_at = %certificate.not_after,
            "certificate issued"
        );
        let by = self.cloud.by_platform();
        let issued = self.cloud.store.issue_certificate(
            wanted.app,
            wanted.hostname.clone(),
            certificate,
            by,
        );
        Ok(issued.await?)
    }

    /// Goes as far with an order as it will go now; begins one if there is none.
    pub(super) async fn advance(
        &self,
        acme: &Acme,
        wanted: &Wanted,
    ) -> Result<Outcome, IssueError> {
        let advanced = self.try_advance(acme, wanted).await;
        match advanced {
            Err(IssueError::Acme(AcmeError::RateLimited { until, .. })) => {
                Ok(Outcome::Limited(until))
            }
            Err(IssueError::Acme(error @ AcmeError::Refused { .. })) => {
                let code = match &error {
                    AcmeError::Refused { problem, .. } if problem == "caa" => "CAA_RECORD_INVALID",
                    _ => "DNS_VALIDATION_FAILED",
                };
                self.give_up(wanted, code, report(&error)).await
            }
            Err(IssueError::Acme(error @ AcmeError::NotOffered { .. })) => {
                self.give_up(wanted, "DNS_VALIDATION_FAILED", report(&error))
                    .await
            }
            Err(IssueError::Acme(AcmeError::Gone { detail })) => {
                // The account or the order: both are made anew.
                *self.account.lock().await = None;
                self.give_up(wanted, "DNS_VALIDATION_FAILED", detail).await
            }
            other => other,
        }
    }

    async fn try_advance(&self, acme: &Acme, wanted: &Wanted) -> Result<Outcome, IssueError> {
        let store = &self.cloud.store;
        let pending = store
            .acme_order(wanted.app, wanted.hostname.clone())
            .await?;
        let pending = match pending {
            Some(order) if order.directory_url == acme.directory_url() => order,
            _ => self.begin(acme, wanted).await?,
        };
        let account = self.account(acme).await?;
        let mut order = account.resume(&pending.url).await?;
        let Some(method) = Method::from_text(&pending.method) else {
            let reason = format!("`{}` is no way to prove a name", pending.method);
            return self.give_up(wanted, "DNS_VALIDATION_FAILED", reason).await;
        };
        let mut shown = pending
            .proofs
            .as_ref()
            .and_then(|proofs| Vec::deserialize(proofs).ok());
        for _ in 0..POLLS {
            match order.stage().await? {
                Stage::Pending => {
                    let known: Vec<Shown> = match shown.clone() {
                        Some(known) => known,
                        None => self.show(wanted, &mut order, method).await?,
                    };
                    if method == Method::Dns01 && !self.is_visible(&known).await {
                        return Ok(Outcome::Waiting(Duration::from_secs(5)));
                    }
                    shown = Some(known);
                    order.prove(method).await?;
                }
                Stage::Ready => {
                    let key = self.key_of(&pending)?;
                    order.finalize(&wanted.names, &key).await?;
                }
                Stage::Processing => {}
                Stage::Issued => {
                    let Some(chain) = order.download().await? else {
                        return Ok(Outcome::Waiting(POLL_EVERY));
                    };
                    let key = self.key_of(&pending)?;
                    let now = self.cloud.now();
                    let pair = CertificatePair::checked(&chain, key.reveal(), now)?;
                    let authority = acme.directory_url().to_owned();
                    self.keep(wanted, pair, authority).await?;
                    return Ok(Outcome::Issued);
                }
                Stage::Failed(reason) => {
                    return self.give_up(wanted, "DNS_VALIDATION_FAILED", reason).await;
                }
            }
            tokio::time::sleep(POLL_EVERY).await;
            order = account.resume(&pending.url).await?;
        }
        Ok(Outcome::Waiting(POLL_EVERY))
    }

    /// Orders, and writes down the order with the key of the certificate to come before anything is shown.
    async fn begin(&self, acme: &Acme, wanted: &Wanted) -> Result<PendingOrder, IssueError> {
        let account = self.account(acme).await?;
        let ordered = match account.order(&wanted.names).await {
            Err(AcmeError::Gone { .. }) => {
                // The authority has forgotten us: a test authority does at every start.
                self.register(acme).await?.order(&wanted.names).await
            }
            ordered => ordered,
        };
        let key = fresh_key(&wanted.names)?;
        let context = self.context(wanted.app, &wanted.hostname);
        let order = PendingOrder {
            app_id: wanted.app,
            hostname: wanted.hostname.clone(),
            directory_url: acme.directory_url().to_owned(),
            url: ordered?,
            method: wanted.method.as_str().to_owned(),
            sealed_key: self.cloud.certificates.sealer.seal(
                key.reveal().as_bytes(),
                &context,
                self.cloud.entropy.as_ref(),
            ),
            proofs: None,
            created_at: self.cloud.now(),
        };
        self.cloud.store.put_acme_order(order.clone()).await?;
        info!(
            hostname = wanted.hostname,
            method = order.method,
            "certificate ordered"
        );
        Ok(order)
    }

    async fn account(&self, acme: &Acme) -> Result<AcmeAccount, IssueError> {
        let mut known = self.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let url = acme.directory_url().to_owned();
        let account = match self.cloud.store.acme_account(url.clone()).await? {
            Some(sealed) => {
                let opened = self.cloud.certificates.sealer.open_sealed(&sealed, &url)?;
                let credentials = Secret::new(String::from_utf8_lossy(&opened));
                acme.account(&credentials).await?
            }
            None => self.fresh_account(acme).await?,
        };
        *known = Some(account.clone());
        Ok(account)
    }

    async fn register(&self, acme: &Acme) -> Result<AcmeAccount, IssueError> {
        let account = self.fresh_account(acme).await?;
        *self.account.lock().await = Some(account.clone());
        Ok(account)
    }

    async fn fresh_account(&self, acme: &Acme) -> Result<AcmeAccount, IssueError> {
        let credentials = acme.register().await?;
        let url = acme.directory_url().to_owned();
        let sealed = self.cloud.certificates.sealer.seal(
            credentials.reveal().as_bytes(),
            &url,
            self.cloud.entropy.as_ref(),
        );
        let by = self.cloud.by_platform();
        self.cloud.store.put_acme_account(url, sealed, by).await?;
        Ok(acme.account(&credentials).await?)
    }

    /// Has edges show what the authority wants to see.
    async fn show(
        &self,
        wanted: &Wanted,
        order: &mut AcmeOrder,
        method: Method,
    ) -> Result<Vec<Shown>, IssueError> {
        let proofs = order.proofs(method).await?;
        let shown: Vec<Shown> = proofs.into_iter().map(Shown::from).collect();
        let value = serde_json::to_value(&shown).expect("texts are JSON");
        let by = self.cloud.by_platform();
        self.cloud
            .store
            .show_proofs(wanted.app, wanted.hostname.clone(), value, by)
            .await?;
        tokio::time::sleep(SHOW_FIRST).await;
        Ok(shown)
    }

    /// Whether DNS says already what the authority will look for.
    async fn is_visible(&self, shown: &[Shown]) -> bool {
        for proof in shown {
            let name = format!("_acme-challenge.{}", proof.hostname);
            let texts = self.cloud.certificates.resolver.txt(&name).await;
            if !texts.is_ok_and(|texts| texts.contains(&proof.dns_value)) {
                return false;
            }
        }
        true
    }

    async fn give_up(
        &self,
        wanted: &Wanted,
        code: &'static str,
        reason: String,
    ) -> Result<Outcome, IssueError> {
        let by = self.cloud.by_platform();
        self.cloud
            .store
            .drop_acme_order(wanted.app, wanted.hostname.clone(), reason.clone(), by)
            .await?;
        info!(
            hostname = wanted.hostname,
            reason, "certificate order failed"
        );
        Ok(Outcome::Failed { code, reason })
    }

    fn key_of(&self, order: &PendingOrder) -> Result<Secret, IssueError> {
        let context = self.context(order.app_id, &order.hostname);
        let opened = self
            .cloud
            .certificates
            .sealer
            .open_sealed(&order.sealed_key, &context)?;
        Ok(Secret::new(String::from_utf8_lossy(&opened)))
    }

    fn context(&self, app: Option<AppId>, hostname: &str) -> String {
        let owner = app.map(|app| app.to_string()).unwrap_or_default();
        sealing_context(&owner, hostname)
    }
}

impl From<Proof> for Shown {
    fn from(proof: Proof) -> Self {
        Self {
            hostname: proof.hostname,
            token: proof.token,
            key_authorization: proof.key_authorization,
            dns_value: proof.dns_value,
        }
    }
}

impl Cloud {
    /// A checked pair as the store keeps it.
    pub(super) fn kept(
        &self,
        app: Option<AppId>,
        hostname: &str,
        source: CertificateSource,
        pair: CertificatePair,
        authority: String,
    ) -> NewCertificate {
        let owner = app.map(|app| app.to_string()).unwrap_or_default();
        let facts = pair.facts;
        NewCertificate {
            source,
            authority,
            sealed_key: self.certificates.sealer.seal(
                pair.key.reveal().as_bytes(),
                &sealing_context(&owner, hostname),
                self.entropy.as_ref(),
            ),
            chain: pair.chain,
            names: facts.names,
            issuer: facts.issuer,
            serial: facts.serial,
            key_type: facts.key_type.to_string(),
            not_before: facts.not_before,
            not_after: facts.not_after,
        }
    }
}
