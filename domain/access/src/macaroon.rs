use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::caveat::{Caveat, read_count, read_signed};
use crate::msgpack::{Reader, Writer};
use crate::third_party::open;

/// Where the permission tokens of upstream say they are from; clients narrow no others.
pub const PERMISSION_LOCATION: &str = "https://api.fly.io/v1";

pub(crate) const PREFIX: &str = "fm2_";

/// What upstream finishes the signature of a proof with.
const PROOF: &[u8] = b"proof-signature-finalization";

/// Why bytes are no macaroon, or not a good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMacaroon {
    #[error("the token is not well-formed: {0}")]
    Malformed(&'static str),
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token needs a discharge from {0}")]
    NotDischarged(String),
    #[error("a discharge belongs to another token")]
    OtherParent,
    #[error("nothing can be added to a finished discharge")]
    Finished,
}

/// What makes a macaroon different from any other of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// By which the maker finds the key.
    pub key_id: Vec<u8>,
    pub random: Vec<u8>,
    /// A discharge to which nobody may add; `None` in the first version of the format.
    pub proof: Option<bool>,
}

impl Nonce {
    pub fn new(key_id: &[u8], random: [u8; 16]) -> Nonce {
        Nonce {
            key_id: key_id.to_owned(),
            random: random.to_vec(),
            proof: Some(false),
        }
    }

    fn is_proof(&self) -> bool {
        self.proof == Some(true)
    }

    fn write(&self, to: &mut Writer) {
        to.array(if self.proof.is_some() { 3 } else { 2 });
        to.bin(&self.key_id);
        to.bin(&self.random);
        if let Some(proof) = self.proof {
            to.bool(proof);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Nonce, InvalidMacaroon> {
        let fields = from.array()?;
        if !(2..=3).contains(&fields) {
            return Err(InvalidMacaroon::Malformed("a nonce of another version"));
        }
        Ok(Nonce {
            key_id: from.bin()?.to_owned(),
            random: from.bin()?.to_owned(),
            proof: (fields == 3).then(|| from.bool()).transpose()?,
        })
    }

    fn signature(&self, key: &[u8]) -> Vec<u8> {
        let mut bytes = Writer::default();
        self.write(&mut bytes);
        sign(key, &bytes.0)
    }
}

/// A caveat and the bytes of it that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    caveat: Caveat,
    bytes: Vec<u8>,
}

impl Signed {
    fn sign(&self, tail: &[u8]) -> Vec<u8> {
        let mut list = Writer::default();
        list.array(2);
        list.0.extend(&self.bytes);
        sign(tail, &list.0)
    }
}

/// A token whose signature has not been looked at: [`Macaroon::verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macaroon {
    pub nonce: Nonce,
    pub location: String,
    caveats: Vec<Signed>,
    tail: Vec<u8>,
}

/// The caveats of a token whose signatures are right, and of its discharges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub caveats: Vec<Caveat>,
}

impl Macaroon {
    pub fn new(nonce: Nonce, location: &str, key: &[u8]) -> Macaroon {
        Macaroon {
            tail: nonce.signature(key),
            nonce,
            location: location.to_owned(),
            caveats: Vec::new(),
        }
    }

    /// What it says of itself, true or not.
    pub fn unverified_caveats(&self) -> impl Iterator<Item = &Caveat> {
        self.caveats.iter().map(|signed| &signed.caveat)
    }

    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Narrows it; a caveat that it has already changes nothing.
    ///
    /// # Errors
    /// `Finished` for a discharge of a third party.
    pub fn add(&mut self, caveat: Caveat) -> Result<(), InvalidMacaroon> {
        if self.nonce.is_proof() {
            return Err(InvalidMacaroon::Finished);
        }
        self.append(caveat);
        Ok(())
    }

    fn append(&mut self, caveat: Caveat) {
        let mut bytes = Writer::default();
        caveat.write(&mut bytes);
        let signed = Signed {
            caveat,
            bytes: bytes.0,
        };
        if !self.caveats.iter().any(|known| known.bytes == signed.bytes) {
            self.tail = signed.sign(&self.tail);
            self.caveats.push(signed);
        }
    }

    /// Makes a discharge to which nobody can add.
    pub(crate) fn finished(mut self, caveats: Vec<Caveat>) -> Macaroon {
        caveats.into_iter().for_each(|caveat| self.append(caveat));
        self.tail = sign(PROOF, &self.tail);
        self
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.array(4);
        self.nonce.write(&mut to);
        to.str(&self.location);
        to.array(2 * self.caveats.len());
        for signed in &self.caveats {
            to.0.extend(&signed.bytes);
        }
        to.bin(&self.tail);
        to.0
    }

    /// # Errors
    /// `Malformed`.
    pub fn decode(bytes: &[u8]) -> Result<Macaroon, InvalidMacaroon> {
        let mut from = Reader::new(bytes);
        from.fields(4)?;
        let nonce = Nonce::read(&mut from)?;
        let location = from.str()?.to_owned();
        let caveats = (0..read_count(&mut from)?)
            .map(|_| {
                let (caveat, bytes) = read_signed(&mut from)?;
                Ok(Signed { caveat, bytes })
            })
            .collect::<Result<_, _>>()?;
        let tail = from.bin()?.to_owned();
        from.end()?;
        Ok(Macaroon {
            nonce,
            location,
            caveats,
            tail,
        })
    }

    /// Its text: `fm2_` and base64.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.encode()))
    }

    /// Checks every signature against the key it was made with; third parties are asked by their discharges.
    ///
    /// # Errors
    /// `Signature`, `NotDischarged` or `OtherParent`. Caveats are not looked at: that is [`crate::permits`].
    pub fn verify(&self, key: &[u8], discharges: &[Macaroon]) -> Result<Verified, InvalidMacaroon> {
        self.verify_as(key, discharges, &[])
    }

    /// `parents` are the hashes of the signatures a discharge may be bound to.
    fn verify_as(
        &self,
        key: &[u8],
        discharges: &[Macaroon],
        parents: &[Vec<u8>],
    ) -> Result<Verified, InvalidMacaroon> {
        let mut tail = self.nonce.signature(key);
        let mut bindings = vec![sha256(&tail)];
        let mut verified = Verified::default();
        let mut asked = Vec::new();
        for signed in &self.caveats {
            match &signed.caveat {
                Caveat::ThirdParty(third_party) => {
                    let key =
                        open(&tail, &third_party.verifier_key).ok_or(InvalidMacaroon::Signature)?;
                    asked.push((third_party, key));
                }
                Caveat::BindToParentToken(prefix) => {
                    if !parents.iter().any(|parent| parent.starts_with(prefix)) {
                        return Err(InvalidMacaroon::OtherParent);
                    }
                }
                // Nobody here trusts a third party's word for who somebody is.
                Caveat::Attestation { .. } if self.nonce.is_proof() => {}
                caveat => verified.caveats.push(caveat.clone()),
            }
            tail = signed.sign(&tail);
            bindings.push(sha256(&tail));
        }
        for (third_party, key) in asked {
            let of_it = |one: &&Macaroon| one.nonce.key_id == third_party.ticket;
            let mut error = InvalidMacaroon::NotDischarged(third_party.location.clone());
            let found = discharges.iter().filter(of_it).find_map(|discharge| {
                match discharge.verify_as(&key, &[], &bindings) {
                    Ok(verified) => Some(verified),
                    Err(wrong) => {
                        error = wrong;
                        None
                    }
                }
            });
            verified.caveats.extend(found.ok_or(error)?.caveats);
        }
        if self.nonce.is_proof() {
            tail = sign(PROOF, &tail);
        }
        // Compared through another HMAC: how much of it is right must not show in the time it takes.
        let blind = hmac::Key::new(hmac::HMAC_SHA256, &tail);
        hmac::verify(&blind, &self.tail, hmac::sign(&blind, &tail).as_ref())
            .map_err(|_| InvalidMacaroon::Signature)?;
        Ok(verified)
    }
}

fn sign(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, bytes).as_ref().to_vec()
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}
