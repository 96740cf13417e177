use std::io::Read;

use proptest::prelude::*;

use super::*;

fn accept(line: &str) -> Option<&'static str> {
    negotiate::best(std::iter::once(line.as_bytes())).map(Coding::name)
}

#[test]
fn the_client_says_what_it_takes() {
    for (line, expected) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("x-gzip", Some("gzip")),
        ("deflate", Some("deflate")),
        ("gzip;q=1.0, br;q=0.9", Some("gzip")),
        ("br;q=0, gzip", Some("gzip")),
        ("*", Some("zstd")),
        ("*;q=0.1, zstd;q=0", Some("br")),
        ("*;q=0, gzip;q=0.001", Some("gzip")),
        ("gzip ; q=0.5 , identity;q=0.8", None),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("identity", None),
        ("", None),
        ("compress", None),
        ("GZIP;Q=0.3", Some("gzip")),
    ] {
        assert_eq!(accept(line), expected, "{line}");
    }
    let lines = [b"br;q=0".as_slice(), b"gzip"];
    assert_eq!(negotiate::best(lines.into_iter()), Some(Coding::Gzip));
}

fn choose(status: u16, fields: &[(&str, &str)]) -> Compression {
    let accepted = std::iter::once(b"gzip".as_slice());
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Compression::choose(accepted, status, fields)
}

#[test]
fn only_what_shrinks_and_may_be_changed_is_coded() {
    let coded = Compression::With(Coding::Gzip);
    let html = ("Content-Type", "text/html; charset=utf-8");
    for (status, fields, expected) in [
        (200, vec![html], coded),
        (200, vec![html, ("Content-Length", "512")], coded),
        (200, vec![html, ("content-length", "511")], Compression::Off),
        (
            500,
            vec![("Content-Type", "application/problem+json")],
            coded,
        ),
        (200, vec![("content-type", "image/svg+xml")], coded),
        (200, vec![("content-type", "IMAGE/PNG")], Compression::Off),
        (
            200,
            vec![("content-type", "text/event-stream")],
            Compression::Off,
        ),
        (200, vec![], Compression::Off),
        (206, vec![html], Compression::Off),
        (304, vec![html], Compression::Off),
        (
            200,
            vec![html, ("Content-Encoding", "none")],
            Compression::Off,
        ),
        (
            200,
            vec![html, ("Content-Range", "bytes 0-1/2")],
            Compression::Off,
        ),
        (
            200,
            vec![html, ("Cache-Control", "public, No-Transform")],
            Compression::Off,
        ),
        (200, vec![html, ("Cache-Control", "public")], coded),
        (
            200,
            vec![html, ("Repr-Digest", "sha-256=:x:")],
            Compression::Off,
        ),
    ] {
        assert_eq!(choose(status, &fields), expected, "{status} {fields:?}");
    }
    let nothing = Compression::choose(
        std::iter::empty(),
        200,
        std::iter::once((b"content-type".as_slice(), b"text/css".as_slice())),
    );
    assert_eq!(nothing, Compression::Identity);
    assert_eq!(weak_etag(b"\"a\""), b"W/\"a\"");
    assert_eq!(weak_etag(b"W/\"a\""), b"W/\"a\"");
}

/// Everything a decoder of a client's makes of `coded`, which need not be complete.
fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader: Box<dyn Read> = match coding {
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
        Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(coded)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 4096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
    };
    let mut piece = [0; 4096];
    loop {
        match reader.read(&mut piece) {
            Ok(0) | Err(_) => return plain,
            Ok(count) => plain.extend_from_slice(&piece[..count]),
        }
    }
}

#[test]
fn the_client_can_read_every_piece_before_the_next_is_there() {
    let mut seed = 1_u32;
    let text: Vec<u8> = (0..200_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"abcdefgh"[(seed >> 29) as usize]
        })
        .collect();
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding).unwrap();
        let (mut coded, mut given) = (Vec::new(), 0);
        for piece in text.chunks(16 * 1024) {
            encoder.push(piece, &mut coded).unwrap();
            given += piece.len();
            assert_eq!(
                decode(coding, &coded).len(),
                given,
                "{} holds back",
                coding.name()
            );
        }
        encoder.finish(&mut coded).unwrap();
        assert_eq!(decode(coding, &coded), text, "{}", coding.name());
        assert!(
            coded.len() < text.len() / 2,
            "{}: {}",
            coding.name(),
            coded.len()
        );
    }
}

#[test]
fn an_empty_body_is_a_valid_one() {
    for coding in Coding::ALL {
        let mut coded = Vec::new();
        let mut encoder = Encoder::new(coding).unwrap();
        encoder.push(b"", &mut coded).unwrap();
        assert!(coded.is_empty());
        encoder.finish(&mut coded).unwrap();
        assert!(decode(coding, &coded).is_empty());
        assert!(!coded.is_empty(), "{}", coding.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pieces_come_back(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..500), 0..8)) {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut coded = Vec::new();
            for piece in &pieces {
                encoder.push(piece, &mut coded).unwrap();
            }
            encoder.finish(&mut coded).unwrap();
            prop_assert_eq!(decode(coding, &coded), pieces.concat());
        }
    }

    #[test]
    fn any_header_is_read(line in "[a-z*;=,.q0-9 ]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = accept(&line);
        let _ = negotiate::best(std::iter::once(bytes.as_slice()));
    }
}
