//! Records of TLS 1.3 (RFC 8446, 5) and 1.2 (RFC 5246, 6.2.3; RFC 5288; RFC 7905), under the keys of a finished
//! handshake: opened where they were read to, sealed where they are sent from.

#[cfg(test)]
mod tests;

use std::ops::Range;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Before what is sealed: kind, version, length.
pub(super) const HEADER: usize = 5;
/// Data in one record.
pub(super) const PLAIN_MAX: usize = 1 << 14;
/// What TLS 1.2 allows above that; TLS 1.3 less, and nobody needs so much.
const EXPANSION_MAX: usize = 2048;
const TAG: usize = 16;
/// What records of TLS 1.2 bring of their nonce with AES-GCM.
const EXPLICIT_NONCE: usize = 8;
/// The version that all records name (RFC 8446, 5.1).
const VERSION: [u8; 2] = [3, 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub(super) enum RecordError {
    Unexpected,
    TooLong,
    Garbled,
    Key,
}

impl RecordError {
    pub(super) fn reason(self) -> &'static str {
        match self {
            RecordError::Unexpected => "a record of a kind that may not come now",
            RecordError::TooLong => "a record longer than allowed",
            RecordError::Garbled => "a record that was not sealed for this connection",
            RecordError::Key => "a key that its cipher does not take",
        }
    }
}

/// The keys of one direction and how many records they were used for.
pub(super) struct Keys {
    aead: LessSafeKey,
    iv: [u8; NONCE_LEN],
    form: Form,
    sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

impl Keys {
    pub(super) fn new(
        version: ProtocolVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Result<Keys, RecordError> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(RecordError::Key),
        };
        let form = match (version, secrets) {
            (ProtocolVersion::TLSv1_3, _) => Form::Tls13,
            (_, ConnectionTrafficSecrets::Chacha20Poly1305 { .. }) => Form::Tls12ChaCha,
            _ => Form::Tls12Gcm,
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| RecordError::Key)?;
        Ok(Keys {
            aead: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(|_| RecordError::Key)?,
            form,
            sequence,
        })
    }

    /// Records sealed or opened with these keys.
    pub(super) fn uses(&self) -> u64 {
        self.sequence
    }

    /// Opens a whole record in place; what was in it is at the range returned.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(Kind, Range<usize>), RecordError> {
        let outer = Kind::of(record[0]).ok_or(RecordError::Unexpected)?;
        let secret = match self.form {
            Form::Tls12Gcm => HEADER + EXPLICIT_NONCE,
            Form::Tls13 | Form::Tls12ChaCha => HEADER,
        };
        let plain = (record.len().checked_sub(secret + TAG)).ok_or(RecordError::Garbled)?;
        let mut nonce = self.nonce();
        if self.form == Form::Tls12Gcm {
            nonce[NONCE_LEN - EXPLICIT_NONCE..].copy_from_slice(&record[HEADER..secret]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = if self.form == Form::Tls13 {
            if outer != Kind::Data {
                return Err(RecordError::Unexpected);
            }
            let (header, sealed) = record.split_at_mut(HEADER);
            self.aead.open_in_place(nonce, Aad::from(header), sealed)
        } else {
            let bound = self.bound_in_tls12(outer, plain);
            let sealed = &mut record[secret..];
            self.aead.open_in_place(nonce, Aad::from(bound), sealed)
        };
        let opened = opened.map_err(|_| RecordError::Garbled)?;
        self.sequence += 1;
        let (kind, length) = if self.form == Form::Tls13 {
            // The kind is the last byte that is not padding.
            let last = opened.iter().rposition(|&byte| byte != 0);
            let last = last.ok_or(RecordError::Unexpected)?;
            (Kind::of(opened[last]).ok_or(RecordError::Unexpected)?, last)
        } else {
            (outer, opened.len())
        };
        if length > PLAIN_MAX {
            return Err(RecordError::TooLong);
        }
        Ok((kind, secret..secret + length))
    }

    /// Puts a record behind what is in `out`; `fill` adds what goes into it, at most [`PLAIN_MAX`] bytes.
    pub(super) fn seal(
        &mut self,
        kind: Kind,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordError> {
        let start = out.len();
        let outer = match self.form {
            Form::Tls13 => Kind::Data,
            Form::Tls12Gcm | Form::Tls12ChaCha => kind,
        };
        out.extend_from_slice(&[outer as u8, VERSION[0], VERSION[1], 0, 0]);
        let nonce = self.nonce();
        if self.form == Form::Tls12Gcm {
            out.extend_from_slice(&nonce[NONCE_LEN - EXPLICIT_NONCE..]);
        }
        let secret = out.len();
        fill(out);
        let plain = out.len() - secret;
        if self.form == Form::Tls13 {
            out.push(kind as u8);
        }
        let length = out.len() - start - HEADER + TAG;
        let length = u16::try_from(length).map_err(|_| RecordError::TooLong)?;
        out[start + 3..start + HEADER].copy_from_slice(&length.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (before, sealed) = out.split_at_mut(secret);
        let tag = if self.form == Form::Tls13 {
            let bound = Aad::from(&before[start..]);
            self.aead.seal_in_place_separate_tag(nonce, bound, sealed)
        } else {
            let bound = Aad::from(self.bound_in_tls12(kind, plain));
            self.aead.seal_in_place_separate_tag(nonce, bound, sealed)
        };
        let tag = tag.map_err(|_| RecordError::TooLong)?;
        out.extend_from_slice(tag.as_ref());
        self.sequence += 1;
        Ok(())
    }

    /// RFC 8446, 5.3; RFC 7905, 2. For AES-GCM in TLS 1.2 any that is used once will do.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        nonce
    }

    /// What the tag of a record binds besides its data (RFC 5246, 6.2.3.3).
    fn bound_in_tls12(&self, kind: Kind, plain: usize) -> [u8; 13] {
        let mut bound = [0; 13];
        bound[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bound[8] = kind as u8;
        bound[9..11].copy_from_slice(&VERSION);
        // A record's length has 16 bits.
        let plain = u16::try_from(plain).unwrap_or(u16::MAX);
        bound[11..].copy_from_slice(&plain.to_be_bytes());
        bound
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        match byte {
            21 => Some(Kind::Alert),
            22 => Some(Kind::Handshake),
            23 => Some(Kind::Data),
            _ => None,
        }
    }
}

/// The length of the record at the beginning of `bytes`, with its header, if all of it is there.
pub(super) fn whole(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let [kind, major, minor, high, low, ..] = *bytes else {
        return Ok(None);
    };
    if Kind::of(kind).is_none() || [major, minor] != VERSION {
        return Err(RecordError::Unexpected);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PLAIN_MAX + EXPANSION_MAX {
        return Err(RecordError::TooLong);
    }
    let length = HEADER + length;
    Ok((bytes.len() >= length).then_some(length))
}
