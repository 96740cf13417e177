use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce as SealNonce, UnboundKey};

use crate::caveat::{Caveat, read_list, write_all};
use crate::macaroon::{InvalidMacaroon, Macaroon, Nonce};
use crate::msgpack::{Reader, Writer};

/// The token is good only together with a discharge, a token that the service at `location` gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThirdParty {
    pub location: String,
    /// The discharge's key, sealed with the signature so far: for whoever checks the token.
    pub(crate) verifier_key: Vec<u8>,
    /// The discharge's key and conditions, sealed with the service's key: for the service.
    pub ticket: Vec<u8>,
}

/// Why a service cannot discharge a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DischargeError {
    #[error("the ticket was not sealed with this key")]
    Foreign,
    #[error("the ticket is not well-formed")]
    Malformed(#[source] InvalidMacaroon),
}

/// Random bytes for one third-party caveat.
pub struct Randomness {
    pub discharge_key: [u8; 32],
    pub ticket_nonce: [u8; NONCE_LEN],
    pub verifier_nonce: [u8; NONCE_LEN],
}

impl Macaroon {
    /// Makes the token depend on a discharge by the service that shares `shared_key` with whoever calls this.
    /// `conditions` are for the service to check.
    ///
    /// # Errors
    /// `Finished`; nothing is added then.
    pub fn add_third_party(
        &mut self,
        shared_key: &[u8; 32],
        location: &str,
        conditions: &[Caveat],
        random: &Randomness,
    ) -> Result<(), InvalidMacaroon> {
        let mut ticket = Writer::default();
        ticket.array(2);
        ticket.bin(&random.discharge_key);
        write_all(&mut ticket, conditions);
        let third_party = ThirdParty {
            location: location.to_owned(),
            verifier_key: seal(self.tail(), random.verifier_nonce, &random.discharge_key),
            ticket: seal(shared_key, random.ticket_nonce, &ticket.0),
        };
        self.add(Caveat::ThirdParty(third_party))
    }
}

impl ThirdParty {
    pub(crate) fn write(&self, to: &mut Writer) {
        to.array(3);
        to.str(&self.location);
        to.bin(&self.verifier_key);
        to.bin(&self.ticket);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<ThirdParty, InvalidMacaroon> {
        from.fields(3)?;
        Ok(ThirdParty {
            location: from.str()?.to_owned(),
            verifier_key: from.bin()?.to_owned(),
            ticket: from.bin()?.to_owned(),
        })
    }
}

/// What the service does with a ticket: the conditions it has to check, and the discharge to give out if they hold.
///
/// # Errors
/// The ticket is not for this service, or not a ticket.
pub fn discharge(
    shared_key: &[u8; 32],
    location: &str,
    ticket: &[u8],
    random: [u8; 16],
) -> Result<(Vec<Caveat>, Macaroon), DischargeError> {
    let plain = open(shared_key, ticket).ok_or(DischargeError::Foreign)?;
    let mut from = Reader::new(&plain);
    let read = |from: &mut Reader<'_>| {
        from.fields(2)?;
        Ok((from.bin()?.to_owned(), read_list(from)?))
    };
    let (key, conditions) = read(&mut from).map_err(DischargeError::Malformed)?;
    let mut nonce = Nonce::new(ticket, random);
    nonce.proof = Some(true);
    let made = Macaroon::new(nonce, location, &key).finished(Vec::new());
    Ok((conditions, made))
}

/// The tickets of `token` for which there is no discharge yet, with where to bring them.
pub fn tickets_without<'a>(
    token: &'a Macaroon,
    discharges: &'a [Macaroon],
) -> impl Iterator<Item = &'a ThirdParty> {
    token.unverified_caveats().filter_map(move |caveat| {
        let Caveat::ThirdParty(third_party) = caveat else {
            return None;
        };
        let discharged = |one: &Macaroon| one.nonce.key_id == third_party.ticket;
        (!discharges.iter().any(discharged)).then_some(third_party)
    })
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).ok()?;
    Some(LessSafeKey::new(key))
}

fn seal(key: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    cipher(key)
        .expect("keys and signatures have the cipher's length")
        .seal_in_place_append_tag(
            SealNonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        )
        .expect("a short text can be sealed");
    [nonce.as_slice(), &sealed].concat()
}

pub(crate) fn open(key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = sealed.to_vec();
    let opened = cipher(key)?.open_in_place(
        SealNonce::assume_unique_for_key(*nonce),
        Aad::empty(),
        &mut plain,
    );
    let length = opened.ok()?.len();
    plain.truncate(length);
    Some(plain)
}
