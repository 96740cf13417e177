//! Signing in: RFC 4252, with certificates only.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::certificate::{CERTIFICATE_NAME, Certificate, CertificateError, Visitor};
use crate::guest::Guest;
use crate::packet::{PacketReader, PacketWriter, bad};
use crate::server::ServerConfig;
use crate::wire::{Malformed, Reader, Writer};

const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const DEBUG: u8 = 4;
const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;
const REQUEST: u8 = 50;
const FAILURE: u8 = 51;
const SUCCESS: u8 = 52;
const BANNER: u8 = 53;
const KEY_IS_FINE: u8 = 60;

/// A client offers every key it has.
const TRIES_MAX: u32 = 20;

/// Who has signed in.
pub(crate) struct SignedIn {
    pub(crate) user: String,
    pub(crate) certificate: Certificate,
}

/// One request to sign in.
struct Attempt<'a> {
    user: &'a str,
    certificate: Option<Result<Certificate, Malformed>>,
    /// The signature, and what it must be of.
    signature: Option<(&'a [u8], &'a [u8])>,
}

/// Until the client has signed in; ends with an error when it gives up or has tried too often.
pub(crate) async fn sign_in<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut PacketReader<R>,
    writer: &mut PacketWriter<W>,
    config: &ServerConfig,
    guest: &dyn Guest,
    session: &[u8; 32],
) -> io::Result<SignedIn> {
    let mut tries = 0;
    let mut told = false;
    loop {
        let (packet, _) = reader.next().await?;
        match packet.first() {
            Some(&SERVICE_REQUEST) => {
                let service = Reader::new(&packet[1..]).text().unwrap_or_default();
                if service != "ssh-userauth" {
                    return Err(bad("a service that is not there"));
                }
                let accepted = Writer::message(SERVICE_ACCEPT).string(service);
                writer.send(&accepted.done()).await?;
            }
            Some(&REQUEST) => {
                let attempt = read(&packet).map_err(|_| bad("a malformed request to sign in"))?;
                let checked = check(&attempt, config, guest);
                match (checked, attempt.signature) {
                    (Ok(certificate), Some((signature, signed))) => {
                        let message = Writer::new().string(session).raw(signed).done();
                        if certificate.key.verifies(&message, signature) {
                            writer.send(&[SUCCESS]).await?;
                            return Ok(SignedIn {
                                user: attempt.user.to_owned(),
                                certificate,
                            });
                        }
                        debug!("a signature that is not of the certificate's key");
                    }
                    (Ok(_), None) => {
                        // Name and key as they came.
                        let offered = key_offered(&packet);
                        let fine = Writer::message(KEY_IS_FINE).raw(offered);
                        writer.send(&fine.done()).await?;
                        continue;
                    }
                    (Err(Some(reason)), _) => {
                        debug!(user = attempt.user, reason = %reason, "a certificate was refused");
                        // A stranger learns nothing, the organization's own people what is wrong.
                        if !told && !matches!(reason, CertificateError::Stranger) {
                            told = true;
                            let text = format!("The certificate was refused: {reason}.\r\n");
                            let banner = Writer::message(BANNER).string(text).string("");
                            writer.queue(&banner.done())?;
                        }
                    }
                    (Err(None), _) => {}
                }
                tries += 1;
                if tries >= TRIES_MAX {
                    return Err(bad("too many tries to sign in"));
                }
                let failure = Writer::message(FAILURE).string("publickey").boolean(false);
                writer.send(&failure.done()).await?;
            }
            Some(&DISCONNECT) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(&(IGNORE | DEBUG)) => {}
            Some(_) => return Err(bad("a packet before signing in")),
        }
    }
}

/// The certificate if it lets its holder in; no reason if none was shown.
fn check(
    attempt: &Attempt<'_>,
    config: &ServerConfig,
    guest: &dyn Guest,
) -> Result<Certificate, Option<CertificateError>> {
    let certificate = match &attempt.certificate {
        None => return Err(None),
        Some(Err(Malformed)) => return Err(Some(CertificateError::Malformed)),
        Some(Ok(certificate)) => certificate,
    };
    let (app, authorities) = (guest.app(), guest.authorities());
    let visitor = Visitor {
        user: attempt.user,
        app: &app,
        authorities: &authorities,
        now: config.clock.now(),
    };
    certificate.admits(&visitor).map_err(Some)?;
    Ok(certificate.clone())
}

fn read(packet: &[u8]) -> Result<Attempt<'_>, Malformed> {
    let mut reader = Reader::new(&packet[1..]);
    let user = reader.text()?;
    let (service, method) = (reader.text()?, reader.text()?);
    let mut attempt = Attempt {
        user,
        certificate: None,
        signature: None,
    };
    if service != "ssh-connection" || method != "publickey" {
        return Ok(attempt);
    }
    let is_signed = reader.boolean()?;
    let (name, blob) = (reader.text()?, reader.string()?);
    if name == CERTIFICATE_NAME {
        attempt.certificate = Some(Certificate::parse(blob));
    }
    if is_signed {
        let signed = &packet[..packet.len() - reader.rest().len()];
        attempt.signature = Some((reader.string()?, signed));
    }
    Ok(attempt)
}

/// Algorithm and key of a request without a signature: they are its end.
fn key_offered(packet: &[u8]) -> &[u8] {
    let mut reader = Reader::new(&packet[1..]);
    for _ in 0..3 {
        if reader.string().is_err() {
            return &[];
        }
    }
    if reader.boolean().is_err() {
        return &[];
    }
    reader.rest()
}
