//! Certificates of users: what OpenSSH calls `ssh-ed25519-cert-v01@openssh.com`
//! (<https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_types::Timestamp;

use crate::keys::{PublicKey, SigningKey};
use crate::wire::{Malformed, Reader, Writer};

pub(crate) const CERTIFICATE_NAME: &str = "ssh-ed25519-cert-v01@openssh.com";

/// The critical option that names the apps a certificate is good for, separated by commas.
pub const APPS_OPTION: &str = "apps@mayfly";

/// The principal that signs in as everybody, as upstream has it.
const ANY_USER: &str = "fly";

const USER_CERTIFICATE: u32 = 1;

/// What a certificate is asked to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    pub key: PublicKey,
    /// Different for every certificate; not secret.
    pub nonce: [u8; 32],
    pub serial: u64,
    /// Who it was issued to, for the log.
    pub key_id: String,
    /// Users it signs in as; `fly` among them means every user.
    pub principals: Vec<String>,
    pub valid_from: Timestamp,
    pub valid_until: Timestamp,
    /// Apps it is good for; empty means every app of the organization.
    pub apps: Vec<String>,
}

/// A certificate as somebody presents it; nothing of it is believed before [`Certificate::admits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) key: PublicKey,
    serial: u64,
    kind: u32,
    key_id: String,
    principals: Vec<String>,
    valid_from: u64,
    valid_until: u64,
    /// Names and values of the critical options.
    options: Vec<(String, Vec<u8>)>,
    authority: PublicKey,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// Who signs in, as which user, into what.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    pub user: &'a str,
    pub app: &'a str,
    pub authorities: &'a [PublicKey],
    pub now: Timestamp,
}

/// Why a certificate does not open a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("it is no ed25519 user certificate")]
    Malformed,
    #[error("it is of another organization's authority")]
    Stranger,
    #[error("its signature is wrong")]
    Forged,
    #[error("it is not valid now")]
    NotNow,
    #[error("it is not for user {0}")]
    User(String),
    #[error("it is not for app {0}")]
    App(String),
    #[error("it has the unknown restriction {0}")]
    Restriction(String),
}

impl CertificateRequest {
    /// The certificate as the line of a `-cert.pub` file, with the key id as comment.
    pub fn issue(&self, authority: &SigningKey) -> String {
        let mut principals = Writer::new();
        for principal in &self.principals {
            principals = principals.string(principal);
        }
        let mut options = Writer::new();
        if !self.apps.is_empty() {
            let value = Writer::new().string(self.apps.join(",")).done();
            options = options.string(APPS_OPTION).string(value);
        }
        // In alphabetical order, as the format demands.
        let mut extensions = Writer::new();
        for name in ["permit-port-forwarding", "permit-pty"] {
            extensions = extensions.string(name).string("");
        }
        let body = Writer::new()
            .string(CERTIFICATE_NAME)
            .string(self.nonce)
            .string(self.key.bytes())
            .u64(self.serial)
            .u32(USER_CERTIFICATE)
            .string(&self.key_id)
            .string(principals.done())
            .u64(seconds(self.valid_from))
            .u64(seconds(self.valid_until))
            .string(options.done())
            .string(extensions.done())
            .string("")
            .string(authority.public().blob());
        let signature = authority.sign(&body.clone().done());
        let blob = body.string(signature).done();
        format!(
            "{CERTIFICATE_NAME} {} {}",
            STANDARD.encode(blob),
            self.key_id
        )
    }
}

impl Certificate {
    pub(crate) fn parse(blob: &[u8]) -> Result<Certificate, Malformed> {
        let mut reader = Reader::new(blob);
        if reader.text()? != CERTIFICATE_NAME {
            return Err(Malformed);
        }
        reader.string()?;
        let key = PublicKey::from_bytes(reader.string()?)?;
        let serial = reader.u64()?;
        let kind = reader.u32()?;
        let key_id = reader.text()?.to_owned();
        let mut names = Reader::new(reader.string()?);
        let mut principals = Vec::new();
        while !names.is_empty() {
            principals.push(names.text()?.to_owned());
        }
        let (valid_from, valid_until) = (reader.u64()?, reader.u64()?);
        let mut critical = Reader::new(reader.string()?);
        let mut options = Vec::new();
        while !critical.is_empty() {
            options.push((critical.text()?.to_owned(), critical.string()?.to_vec()));
        }
        reader.string()?;
        reader.string()?;
        let authority = PublicKey::from_blob(reader.string()?)?;
        let signed = blob[..blob.len() - reader.rest().len()].to_vec();
        let signature = reader.string()?.to_vec();
        if !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Certificate {
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_from,
            valid_until,
            options,
            authority,
            signed,
            signature,
        })
    }

    /// Whom it was issued to, as the authority wrote it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether it lets this visitor in.
    pub fn admits(&self, visitor: &Visitor<'_>) -> Result<(), CertificateError> {
        if !visitor.authorities.contains(&self.authority) {
            return Err(CertificateError::Stranger);
        }
        if !self.authority.verifies(&self.signed, &self.signature) {
            return Err(CertificateError::Forged);
        }
        if self.kind != USER_CERTIFICATE {
            return Err(CertificateError::Malformed);
        }
        let now = seconds(visitor.now);
        if now < self.valid_from || now >= self.valid_until {
            return Err(CertificateError::NotNow);
        }
        let is_for = |name: &String| name == visitor.user || name == ANY_USER;
        if !self.principals.iter().any(is_for) {
            return Err(CertificateError::User(visitor.user.to_owned()));
        }
        for (name, value) in &self.options {
            if name != APPS_OPTION {
                return Err(CertificateError::Restriction(name.clone()));
            }
            let mut value = Reader::new(value);
            let apps = value.names().map_err(|_| CertificateError::Malformed)?;
            if !apps.contains(&visitor.app) {
                return Err(CertificateError::App(visitor.app.to_owned()));
            }
        }
        Ok(())
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
