use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::ClientConnection;
use rustls::{ClientConfig, RootCertStore};

use super::*;

/// What a real client sends first.
fn real(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of at most `size` bytes.
fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes[RECORD_HEADER..]
        .chunks(size)
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], &length[..], piece].concat()
        })
        .collect()
}

#[test]
fn a_real_hello_names_its_server() {
    let hello = |name, alpn: &[&[u8]]| ClientHello::parse(&real(name, alpn)).unwrap().unwrap();
    let web = hello("Web.Example.com", &[b"h2", b"http/1.1"]);
    assert_eq!(web.server_name.as_deref(), Some("web.example.com"));
    assert!(!web.proves_ownership);
    assert!(hello("a.b", &[b"acme-tls/1"]).proves_ownership);
    assert!(!hello("a.b", &[b"acme-tls/1", b"h2"]).proves_ownership);
    assert_eq!(hello("192.0.2.1", &[]).server_name, None);
}

#[test]
fn other_protocols_are_known_by_their_first_byte() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"S", b"\0\0\0\x08", b"\x16\x02"] {
        assert_eq!(ClientHello::parse(bytes), Err(NotHello::NotTls));
    }
    let server_hello = [22, 3, 3, 0, 5, 2, 0, 0, 1, 0];
    assert_eq!(ClientHello::parse(&server_hello), Err(NotHello::NotTls));
    let endless = [22, 3, 3, 0, 4, 1, 1, 0, 0];
    assert_eq!(ClientHello::parse(&endless), Err(NotHello::TooLarge));
    assert_eq!(ClientHello::parse(&[22, 3, 3, 0, 0]), Err(NotHello::Broken));
}

proptest! {
    #[test]
    fn it_arrives_in_any_pieces(size in 1usize..600, cut in 0usize..2000) {
        let whole = real("web.example.com", &[b"h2"]);
        let split = in_records(&whole, size);
        let expected = ClientHello::parse(&whole);
        prop_assert_eq!(&ClientHello::parse(&split), &expected);
        let cut = cut.min(split.len() - 1);
        prop_assert_eq!(ClientHello::parse(&split[..cut]), Ok(None));
        // What follows belongs to somebody else.
        prop_assert_eq!(&ClientHello::parse(&[&split[..], b"more"].concat()), &expected);
    }

    #[test]
    fn no_bytes_break_it(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let _ = ClientHello::parse(&bytes);
        let mut nearly = real("web.example.com", &[b"h2"]);
        for (place, byte) in changes {
            let place = place % nearly.len();
            nearly[place] = byte;
        }
        if let Ok(Some(hello)) = ClientHello::parse(&nearly) {
            prop_assert!(hello.server_name.is_none_or(|name| name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())));
        }
        bytes.splice(0..0, [22, 3, 1]);
        let _ = ClientHello::parse(&bytes);
    }
}
