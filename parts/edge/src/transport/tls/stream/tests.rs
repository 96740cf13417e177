use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::transport::tls::handshake::shake_hands;

const NAME: &str = "web.example";

type Client = client::TlsStream<TcpStream>;

/// Both ends of a connection whose client knows only `suite`.
async fn pair(suite: SupportedCipherSuite) -> (Client, TlsStream) {
    pair_after(suite, async |_| {}).await
}

/// The same once the client has done `first`, which it does with its last message of the handshake.
async fn pair_after(
    suite: SupportedCipherSuite,
    first: impl AsyncFnOnce(&mut Client),
) -> (Client, TlsStream) {
    let version: &SupportedProtocolVersion = suite.version();
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![suite];
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (accepted, _) = listener.accept().await.unwrap();
    let server = shake_hands(accepted, Vec::new(), Arc::new(server));
    let client = async {
        let mut client = connector.connect(name, tcp).await.unwrap();
        first(&mut client).await;
        client
    };
    let (client, server) = tokio::join!(client, server);
    (client, server.unwrap().0)
}

fn suites() -> Vec<SupportedCipherSuite> {
    rustls::crypto::ring::ALL_CIPHER_SUITES
        .iter()
        .copied()
        // Those that need another kind of key than the test has differ in the handshake only.
        .filter(|suite| !format!("{suite:?}").contains("RSA"))
        .collect()
}

fn of_version(version: ProtocolVersion) -> SupportedCipherSuite {
    let mut suites = suites().into_iter();
    suites
        .find(|suite| suite.version().version == version)
        .unwrap()
}

async fn exchange(client: &mut Client, server: &mut TlsStream, length: usize) {
    let message: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
    let (mut there, mut back) = (vec![0; length], vec![0; length]);
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut server_reads, mut server_writes) = tokio::io::split(server);
    let client = async {
        client_writes.write_all(&message).await.unwrap();
        client_writes.flush().await.unwrap();
    };
    let server = async {
        server_reads.read_exact(&mut there).await.unwrap();
        server_writes.write_all(&there).await.unwrap();
        server_writes.flush().await.unwrap();
    };
    let answer = async {
        client_reads.read_exact(&mut back).await.unwrap();
    };
    tokio::join!(client, server, answer);
    assert!(back == message, "{length} bytes came back changed");
}

#[tokio::test]
async fn every_cipher_suite_carries_data_both_ways_and_says_goodbye() {
    assert!(suites().len() >= 6, "{:?}", suites());
    for suite in suites() {
        let (mut client, mut server) = pair(suite).await;
        for length in [1, PLAIN_MAX, PLAIN_MAX + 1, 400_000] {
            exchange(&mut client, &mut server, length).await;
        }
        server.shutdown().await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        client.shutdown().await.unwrap();
        server.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{suite:?}");
        let late = server.write_all(b"late").await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_ours() {
    let (mut client, mut server) =
        pair_after(of_version(ProtocolVersion::TLSv1_3), async |client| {
            client.get_mut().1.refresh_traffic_keys().unwrap();
            client.write_all(b"early").await.unwrap();
            client.flush().await.unwrap();
        })
        .await;
    assert_eq!(server.incoming.keys.uses(), 0, "rustls opened none of it");
    let mut early = [0; 5];
    server.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    exchange(&mut client, &mut server, 100).await;
}

#[tokio::test]
async fn several_parts_are_one_record() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_3)).await;
    let parts = [&b"head"[..], b"", b"body"].map(IoSlice::new);
    assert_eq!(server.write_vectored(&parts).await.unwrap(), 8);
    assert_eq!(
        server.outgoing.keys.uses(),
        server.outgoing.keys.uses().max(1)
    );
    let mut seen = [0; 8];
    client.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"headbody");
}

#[tokio::test]
async fn both_sides_go_on_with_new_keys() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_3)).await;
    for _ in 0..5 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        exchange(&mut client, &mut server, 1000).await;
    }
    server.outgoing.uses_max = 2;
    exchange(&mut client, &mut server, 5 * PLAIN_MAX).await;
    assert!(server.outgoing.keys.uses() <= 2);
}

#[tokio::test]
async fn new_keys_are_announced_without_a_write() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_3)).await;
    // rustls has no way to ask the other side: what would be put behind what is sent is put there by hand.
    server.renew_keys().unwrap();
    let mut byte = [0; 1];
    tokio::join!(
        async {
            client.write_all(b"x").await.unwrap();
            client.flush().await.unwrap();
        },
        async { server.read_exact(&mut byte).await.unwrap() },
    );
    assert!(server.outgoing.buffer.is_empty(), "it was sent by the read");
    exchange(&mut client, &mut server, 100).await;
}

#[tokio::test]
async fn in_tls_1_2_keys_that_are_used_up_end_the_connection() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_2)).await;
    exchange(&mut client, &mut server, 10).await;
    server.outgoing.uses_max = server.outgoing.keys.uses();
    let error = server.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let mut rest = Vec::new();
    assert_eq!(
        client.read_to_end(&mut rest).await.unwrap(),
        0,
        "said goodbye"
    );
}

#[tokio::test]
async fn nothing_but_new_keys_is_not_listened_to_for_ever() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_3)).await;
    for _ in 0..=EMPTY_MAX {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.flush().await.unwrap();
    }
    let error = server.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.to_string(), "nothing but empty records");
}

#[tokio::test]
async fn a_forged_record_and_a_missing_goodbye_are_errors() {
    for suite in suites() {
        let (mut client, mut server) = pair(suite).await;
        let forged = [&[23, 3, 3, 0, 40][..], &[1; 40]].concat();
        client.get_mut().0.write_all(&forged).await.unwrap();
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{suite:?}");
        let told = client.read(&mut [0; 10]).await.unwrap_err();
        assert!(told.to_string().contains("BadRecordMac"), "{told}");

        let (mut client, mut server) = pair(suite).await;
        client.get_mut().0.shutdown().await.unwrap();
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{suite:?}");
    }
}

#[tokio::test]
async fn a_connection_that_waits_holds_no_buffer() {
    let (mut client, mut server) = pair(of_version(ProtocolVersion::TLSv1_3)).await;
    exchange(&mut client, &mut server, 100_000).await;
    let mut byte = [0; 1];
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), server.read(&mut byte));
    assert!(waiting.await.is_err());
    assert_eq!(server.incoming.buffer.capacity(), 0);
    assert_eq!(server.outgoing.buffer.capacity(), 0);
}
