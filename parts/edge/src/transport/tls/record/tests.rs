use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, Iv};

use super::*;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];

fn secrets(chacha: bool) -> ConnectionTrafficSecrets {
    let (key, iv) = (AeadKey::from([7; 32]), Iv::new([9; NONCE_LEN]));
    if chacha {
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }
    } else {
        ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    }
}

fn pair(version: ProtocolVersion, chacha: bool) -> (Keys, Keys) {
    let keys = || Keys::new(version, 3, &secrets(chacha)).unwrap();
    (keys(), keys())
}

fn sealed(keys: &mut Keys, kind: Kind, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    keys.seal(kind, &mut out, |out| out.extend_from_slice(plain))
        .unwrap();
    out
}

#[test]
fn records_that_may_not_be_are_refused_by_their_header() {
    for (header, verdict) in [
        (&[23, 3, 3, 0][..], Ok(None)),
        (&[23, 3, 3, 0, 1], Ok(None)),
        (&[23, 3, 3, 0, 0], Ok(Some(5))),
        (&[22, 3, 3, 0, 1, 9, 23], Ok(Some(6))),
        (&[20, 3, 3, 0, 1, 1], Err(RecordError::Unexpected)),
        (&[24, 3, 3, 0, 1, 1], Err(RecordError::Unexpected)),
        (&[23, 3, 1, 0, 1, 1], Err(RecordError::Unexpected)),
        (b"GET / HTTP/1.1", Err(RecordError::Unexpected)),
        (&[23, 3, 3, 0x48, 0x01], Err(RecordError::TooLong)),
    ] {
        assert_eq!(whole(header), verdict, "{header:?}");
    }
}

#[test]
fn padding_is_taken_off_and_nothing_but_padding_refused() {
    let (mut sealer, mut opener) = pair(ProtocolVersion::TLSv1_3, false);
    // The kind that is put last makes of an alert's byte and zeros a padded record; here they are what is inside.
    let nonce = Nonce::assume_unique_for_key(sealer.nonce());
    let mut record = vec![23, 3, 3, 0, 23, b'h', b'i', 23, 0, 0, 0, 0];
    let (header, plain) = record.split_at_mut(HEADER);
    let tag = sealer
        .aead
        .seal_in_place_separate_tag(nonce, Aad::from(header), plain)
        .unwrap();
    record.extend_from_slice(tag.as_ref());
    let (kind, inside) = opener.open(&mut record).unwrap();
    assert_eq!((kind, &record[inside]), (Kind::Data, &b"hi"[..]));

    sealer.sequence += 1;
    let nonce = Nonce::assume_unique_for_key(sealer.nonce());
    let mut record = vec![23, 3, 3, 0, 19, 0, 0, 0];
    let (header, plain) = record.split_at_mut(HEADER);
    let tag = sealer
        .aead
        .seal_in_place_separate_tag(nonce, Aad::from(header), plain)
        .unwrap();
    record.extend_from_slice(tag.as_ref());
    assert_eq!(opener.open(&mut record), Err(RecordError::Unexpected));
}

proptest! {
    #[test]
    fn what_was_sealed_is_opened_once_and_in_order(
        version in prop::sample::select(&VERSIONS),
        chacha: bool,
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..4),
        kind in prop::sample::select(&[Kind::Alert, Kind::Handshake, Kind::Data]),
    ) {
        let (mut sealer, mut opener) = pair(version, chacha);
        let mut first = None;
        for message in &messages {
            let mut record = sealed(&mut sealer, kind, message);
            prop_assert_eq!(whole(&record), Ok(Some(record.len())));
            first.get_or_insert_with(|| record.clone());
            let (seen, inside) = opener.open(&mut record).unwrap();
            prop_assert_eq!((seen, &record[inside]), (kind, &message[..]));
        }
        prop_assert_eq!(opener.open(&mut first.unwrap()), Err(RecordError::Garbled), "again");
    }

    #[test]
    fn a_changed_record_is_read_or_refused_never_believed(
        version in prop::sample::select(&VERSIONS),
        chacha: bool,
        message in prop::collection::vec(any::<u8>(), 0..100),
        place: prop::sample::Index,
        change in 1_u8..,
        cut in 0_usize..60,
    ) {
        let (mut sealer, mut opener) = pair(version, chacha);
        let mut record = sealed(&mut sealer, Kind::Data, &message);
        let place = place.index(record.len());
        record[place] ^= change;
        record.truncate(record.len() - cut.min(record.len() - HEADER));
        if whole(&record).is_ok() {
            // The version and the length in TLS 1.2 are bound by what we say they are.
            let unbound = version == ProtocolVersion::TLSv1_2 && (1..HEADER).contains(&place) && cut == 0;
            prop_assert!(unbound || opener.open(&mut record).is_err());
        }
    }
}
