//! Certificates from an authority that speaks ACME (RFC 8555), in steps.
//!
//! Every step is one call that can be made again after a crash: an order is found by its address, and says itself how
//! far it has come. What must survive is the account, the order's address and the key of the certificate; the caller
//! keeps all three.

mod error;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeStatus, ChallengeType,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus,
};
use mayfly_edge_api::ServerCertificate;
use mayfly_net::{ClientConfig, HttpClient};
use mayfly_runtime::Clock;
use mayfly_types::{Hostname, Secret};

pub use error::AcmeError;
use transport::Transport;

use crate::authority::{AuthorityError, challenge_certificate, request, request_with};

/// Which authority, and who asks.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// Address of the authority's directory.
    pub directory_url: String,
    /// Where the authority writes to when something is wrong with the account.
    pub email: Option<String>,
    /// Authorities to trust beside the system's when talking to this one, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// For authorities that know their customers already (RFC 8555, 7.3.4): key id, and key in base64url.
    pub external_account: Option<(String, Secret)>,
}

/// A way to one authority. Clones share its connections.
#[derive(Clone)]
pub struct Acme {
    config: Arc<AcmeConfig>,
    transport: Transport,
}

/// How a name is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A file under a well-known path (RFC 8555, 8.3).
    Http01,
    /// A certificate in a handshake (RFC 8737).
    TlsAlpn01,
    /// A text in DNS (RFC 8555, 8.4).
    Dns01,
}

/// How far an order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Names are to be proved.
    Pending,
    /// All names are proved; the request for the certificate is awaited.
    Ready,
    /// The authority works.
    Processing,
    Issued,
    /// Over, with the authority's reason.
    Failed(String),
}

/// What has to be shown to prove a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The name without `*.`.
    pub hostname: String,
    pub token: String,
    /// The token joined with the account's key: the file's content.
    pub key_authorization: String,
    /// What the text record holds.
    pub dns_value: String,
}

/// An account with the authority.
#[derive(Clone)]
pub struct AcmeAccount {
    account: Account,
    transport: Transport,
}

/// An order under way.
pub struct AcmeOrder {
    order: Order,
    transport: Transport,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Http01 => "http-01",
            Method::TlsAlpn01 => "tls-alpn-01",
            Method::Dns01 => "dns-01",
        }
    }

    pub fn from_text(text: &str) -> Option<Method> {
        [Method::Http01, Method::TlsAlpn01, Method::Dns01]
            .into_iter()
            .find(|method| method.as_str() == text)
    }

    fn kind(self) -> ChallengeType {
        match self {
            Method::Http01 => ChallengeType::Http01,
            Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Method::Dns01 => ChallengeType::Dns01,
        }
    }
}

impl Acme {
    pub fn new(config: AcmeConfig, clock: Arc<dyn Clock>) -> Acme {
        let client = HttpClient::new(ClientConfig {
            ca_file: config.ca_file.clone(),
            ..ClientConfig::default()
        });
        Acme {
            config: Arc::new(config),
            transport: Transport::new(client, clock),
        }
    }

    pub fn directory_url(&self) -> &str {
        &self.config.directory_url
    }

    /// Opens a new account, agreeing to the authority's terms; the credentials returned are all of it.
    pub async fn register(&self) -> Result<Secret, AcmeError> {
        let contact = self
            .config
            .email
            .as_ref()
            .map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = match &self.config.external_account {
            None => None,
            Some((id, key)) => Some(ExternalAccountKey::new(id.clone(), &decoded(key)?)),
        };
        let made = Account::builder_with_http(self.transport.boxed())
            .create(&new, self.config.directory_url.clone(), external.as_ref())
            .await;
        let (_, credentials) = made.map_err(|error| self.transport.explain(error))?;
        let text = serde_json::to_string(&credentials).expect("credentials are texts");
        Ok(Secret::new(text))
    }

    /// The account of these credentials.
    pub async fn account(&self, credentials: &Secret) -> Result<AcmeAccount, AcmeError> {
        let credentials: AccountCredentials =
            serde_json::from_str(credentials.reveal()).map_err(|_| AcmeError::Credentials)?;
        let account = Account::builder_with_http(self.transport.boxed())
            .from_credentials(credentials)
            .await;
        Ok(AcmeAccount {
            account: account.map_err(|error| self.transport.explain(error))?,
            transport: self.transport.clone(),
        })
    }
}

fn decoded(key: &Secret) -> Result<Vec<u8>, AcmeError> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let text = key.reveal().trim().trim_end_matches('=');
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| AcmeError::ExternalKey)
}

impl AcmeAccount {
    /// Orders a certificate for `names`; the order's address is what finds it again.
    pub async fn order(&self, names: &[Hostname]) -> Result<String, AcmeError> {
        let identifiers: Vec<Identifier> = names
            .iter()
            .map(|name| Identifier::Dns(name.to_string()))
            .collect();
        let order = self.account.new_order(&NewOrder::new(&identifiers)).await;
        let order = order.map_err(|error| self.transport.explain(error))?;
        Ok(order.url().to_owned())
    }

    /// The order at `url` as it is now.
    pub async fn resume(&self, url: &str) -> Result<AcmeOrder, AcmeError> {
        let order = self.account.order(url.to_owned()).await;
        Ok(AcmeOrder {
            order: order.map_err(|error| self.transport.explain(error))?,
            transport: self.transport.clone(),
        })
    }
}

impl AcmeOrder {
    pub async fn stage(&mut self) -> Result<Stage, AcmeError> {
        let state = self.order.state();
        let stage = match state.status {
            OrderStatus::Pending => Stage::Pending,
            OrderStatus::Ready => Stage::Ready,
            OrderStatus::Processing => Stage::Processing,
            OrderStatus::Valid => Stage::Issued,
            OrderStatus::Invalid => {
                let reason = state
                    .error
                    .as_ref()
                    .and_then(|problem| problem.detail.clone());
                Stage::Failed(reason.unwrap_or_default())
            }
        };
        if let Stage::Failed(reason) = &stage {
            // The order says that it failed; the proof says why.
            let why = self.failed_proof().await?.unwrap_or_else(|| reason.clone());
            return Ok(Stage::Failed(why));
        }
        Ok(stage)
    }

    async fn failed_proof(&mut self) -> Result<Option<String>, AcmeError> {
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(|error| self.transport.explain(error))?;
            let problems = authorization.challenges.iter();
            let mut problems = problems.filter_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problems.find_map(|problem| problem.detail.clone()) {
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }

    /// What has to be shown, by `method`, for every name that is not proved yet.
    ///
    /// # Errors
    /// `NotOffered` if the authority does not take this method for one of the names.
    pub async fn proofs(&mut self, method: Method) -> Result<Vec<Proof>, AcmeError> {
        let mut proofs = Vec::new();
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.transport.explain(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Identifier::Dns(hostname) = authorization.identifier().identifier.clone() else {
                continue;
            };
            let Some(challenge) = authorization.challenge(method.kind()) else {
                return Err(AcmeError::NotOffered { hostname, method });
            };
            let key_authorization = challenge.key_authorization();
            proofs.push(Proof {
                token: challenge.token.clone(),
                dns_value: key_authorization.dns_value(),
                key_authorization: key_authorization.as_str().to_owned(),
                hostname,
            });
        }
        Ok(proofs)
    }

    /// Tells the authority that everything is to be seen now.
    pub async fn prove(&mut self, method: Method) -> Result<(), AcmeError> {
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.transport.explain(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(method.kind())
                && challenge.status == ChallengeStatus::Pending
            {
                let told = challenge.set_ready().await;
                told.map_err(|error| self.transport.explain(error))?;
            }
        }
        Ok(())
    }

    /// Asks for the certificate itself, with the key that will be its own.
    pub async fn finalize(&mut self, names: &[Hostname], key: &Secret) -> Result<(), AcmeError> {
        let names: Vec<String> = names.iter().map(Hostname::to_string).collect();
        let request = request_with(&names, key)?;
        let asked = self.order.finalize_csr(&request).await;
        asked.map_err(|error| self.transport.explain(error))
    }

    /// The chain of an issued certificate, in PEM form.
    pub async fn download(&mut self) -> Result<Option<String>, AcmeError> {
        let chain = self.order.certificate().await;
        chain.map_err(|error| self.transport.explain(error))
    }
}

/// A fresh key for a certificate of `names`, PKCS #8 in PEM.
pub fn fresh_key(names: &[Hostname]) -> Result<Secret, AuthorityError> {
    let names: Vec<String> = names.iter().map(Hostname::to_string).collect();
    request(&names)
}

/// The certificate that proves `hostname` in a handshake.
pub fn alpn_certificate(
    hostname: &str,
    key_authorization: &str,
) -> Result<ServerCertificate, AuthorityError> {
    let digest = ring::digest::digest(&ring::digest::SHA256, key_authorization.as_bytes());
    let (chain, key) = challenge_certificate(hostname, digest.as_ref())?;
    Ok(ServerCertificate {
        hostnames: vec![hostname.to_owned()],
        chain,
        key,
    })
}
