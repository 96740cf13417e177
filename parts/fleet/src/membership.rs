use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::{AuthorityError, RoleFacts, RoleKey, certificate_pem, fingerprint};
use mayfly_fleet_api::{
    CONTROL_NAME, Call, CallError, Hello, JoinAnswer, JoinRequest, JoinToken, RenewAnswer,
};
use mayfly_net::{MutualTls, PapersError, RolePapers, connect_by_fingerprint};
use mayfly_runtime::{Backoff, Clock, Stop, report};
use mayfly_seal::write_private;
use mayfly_types::{ErrorKind, HostId, Secret};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::line::{Answer, Line, watch_over};
use crate::link::{Link, LinkError};

const JOIN_PATIENCE: Duration = Duration::from_secs(20);
const RENEW_PATIENCE: Duration = Duration::from_secs(20);
/// How often the certificate's age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(300),
};

const FILE: &str = "membership.json";
const KEY: &str = "key.pem";
const VERSION: u32 = 1;

/// This server's place in a fleet that it joined: kept in a directory that only its owner reads.
#[derive(Clone, Debug)]
pub struct Membership {
    directory: PathBuf,
    key: Secret,
    papers: Papers,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Papers {
    version: u32,
    server: HostId,
    domain: String,
    /// Where the control plane was joined.
    control: String,
    chain: String,
    root: String,
}

/// Why a server did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("reach the fleet at {address}")]
    Unreachable {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("the fleet at {address} refused: {source}")]
    Refused { address: String, source: CallError },
    #[error("use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("make an identity")]
    Identity(#[from] AuthorityError),
    #[error("use the identity")]
    Papers(#[from] PapersError),
}

impl JoinError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            JoinError::Unreachable { .. } => ErrorKind::Unavailable,
            JoinError::Refused { source, .. } => source.kind(),
            _ => ErrorKind::Internal,
        }
    }
}

impl Membership {
    /// The membership kept in `directory`, if this server ever joined.
    pub fn load(directory: &Path) -> Result<Option<Self>, JoinError> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(&path)(error)),
        };
        let papers: Papers = serde_json::from_slice(&text)
            .map_err(io::Error::other)
            .map_err(file_error(&path))?;
        if papers.version != VERSION {
            let reason = format!(
                "it has version {}, this program knows {VERSION}",
                papers.version
            );
            return Err(file_error(&path)(io::Error::other(reason)));
        }
        let key = directory.join(KEY);
        let key = Secret::new(fs::read_to_string(&key).map_err(file_error(&key))?);
        Ok(Some(Self {
            directory: directory.to_owned(),
            key,
            papers,
        }))
    }

    /// Joins the fleet whose control plane answers at `address`. Its authority is believed because the token names it.
    ///
    /// The key is kept before anything is asked, so that a try after a lost answer is the same request.
    pub async fn join(
        directory: &Path,
        address: &str,
        token: &JoinToken,
        hello: Hello,
    ) -> Result<Self, JoinError> {
        let unreachable = |source| JoinError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let key_path = directory.join(KEY);
        fs::create_dir_all(directory).map_err(file_error(directory))?;
        let key = match fs::read_to_string(&key_path) {
            Ok(text) => RoleKey::of(Secret::new(text))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = RoleKey::generate()?;
                write_private(&key_path, key.key.reveal().as_bytes())
                    .map_err(file_error(&key_path))?;
                key
            }
            Err(error) => return Err(file_error(&key_path)(error)),
        };
        let call = Call::Join(Box::new(JoinRequest {
            secret: token.secret.clone(),
            request: key.request,
            hello,
        }));
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            watch_over(&stream)?;
            let authority = token.authority.clone();
            let is_authority = move |root: &[u8]| fingerprint(root) == authority;
            let (stream, root) = connect_by_fingerprint(stream, CONTROL_NAME, is_authority).await?;
            let answer: Answer<JoinAnswer> = Line::new(stream).ask(&call).await?;
            Ok((answer, root))
        };
        let (answer, root) = timeout(JOIN_PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        let answer = answer.map_err(|source| JoinError::Refused {
            address: address.to_owned(),
            source,
        })?;
        let membership = Self {
            directory: directory.to_owned(),
            key: key.key,
            papers: Papers {
                version: VERSION,
                server: answer.server,
                domain: answer.domain,
                control: address.to_owned(),
                chain: answer.chain,
                root: certificate_pem(&root),
            },
        };
        membership.save()?;
        info!(host_id = %answer.server, address, "joined the fleet");
        Ok(membership)
    }

    pub fn server(&self) -> HostId {
        self.papers.server
    }

    /// Apps are reached as `<app>.<domain>`.
    pub fn domain(&self) -> &str {
        &self.papers.domain
    }

    /// Where the control plane was joined.
    pub fn control(&self) -> &str {
        &self.papers.control
    }

    /// The control plane is reached at another address from now on.
    pub fn set_control(&mut self, address: &str) -> Result<(), JoinError> {
        if self.papers.control == address {
            return Ok(());
        }
        self.papers.control = address.to_owned();
        self.save()
    }

    pub fn tls(&self) -> Result<MutualTls, JoinError> {
        Ok(MutualTls::new(&self.role_papers())?)
    }

    /// Keeps the certificate fresh until told to stop: at two thirds of its life a new one is asked for.
    pub async fn keep_fresh(
        mut self,
        tls: Arc<MutualTls>,
        control: Link,
        clock: Arc<dyn Clock>,
        stop: Stop,
    ) {
        let mut failures = 0;
        loop {
            let renew_at = RoleFacts::of_chain(&self.papers.chain).map(|facts| facts.renew_at());
            let is_due = renew_at.is_none_or(|at| clock.now() >= at);
            let pause = if is_due {
                match self.renew(&tls, &control).await {
                    Ok(()) => {
                        failures = 0;
                        info!("identity renewed");
                        LOOK_EVERY
                    }
                    Err(error) => {
                        warn!(error = report(&*error), "identity not renewed");
                        failures += 1;
                        RETRY.pause(failures - 1)
                    }
                }
            } else {
                LOOK_EVERY
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn renew(
        &mut self,
        tls: &MutualTls,
        control: &Link,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let request = RoleKey::of(self.key.clone())?.request;
        let answer: Result<RenewAnswer, LinkError> =
            control.ask(&Call::Renew { request }, RENEW_PATIENCE).await;
        self.papers.chain = answer?.chain;
        tls.renew(&self.role_papers())?;
        Ok(self.save()?)
    }

    fn role_papers(&self) -> RolePapers<'_> {
        RolePapers {
            chain: &self.papers.chain,
            key: self.key.reveal(),
            root: &self.papers.root,
        }
    }

    fn save(&self) -> Result<(), JoinError> {
        let path = self.directory.join(FILE);
        let text = serde_json::to_vec_pretty(&self.papers).expect("papers are plain data");
        write_private(&path, &text).map_err(file_error(&path))
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> JoinError {
    let path = path.to_owned();
    |source| JoinError::File { path, source }
}
