//! TLS on the shared address, with real clients where there are any.

use std::process::{Command, Stdio};

use base64::Engine as _;
use mayfly_edge_api::{Challenge, ServerCertificate};
use mayfly_types::Secret;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

pub(crate) fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

pub(crate) fn certificate(names: &[&str]) -> Arc<ServerCertificate> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    Arc::new(ServerCertificate {
        hostnames: names,
        chain: pem("CERTIFICATE", made.cert.der()),
        key: Secret::new(pem("PRIVATE KEY", &made.signing_key.serialize_der())),
    })
}

impl TestEdge {
    /// Publishes certificates and waits until nothing older is shown for `name`.
    pub(crate) async fn publish(&self, certificates: &[&Arc<ServerCertificate>]) {
        let certificates: Vec<_> = certificates.iter().map(|one| Arc::clone(one)).collect();
        self.directory.send_modify(|directory| {
            Arc::make_mut(directory).certificates = certificates;
        });
    }
}

/// What `openssl s_client` prints, with `input` as what is typed.
pub(crate) async fn s_client(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
    .await
    .unwrap()
}

/// The text of `openssl x509` about the certificate shown for `name`.
async fn shown(edge: &TestEdge, name: &str) -> String {
    let text = s_client(edge.https, &["-servername", name], "").await;
    let start = text.find("-----BEGIN").unwrap_or(0);
    let end = text.find("-----END CERTIFICATE-----").unwrap_or(0);
    text[start..end].replace('\n', "")
}

fn body_of(certificate: &ServerCertificate) -> String {
    let chain = &certificate.chain;
    let end = chain.find("-----END").unwrap();
    chain[..end].replace('\n', "")
}

async fn until_shown(edge: &TestEdge, name: &str, certificate: &ServerCertificate) {
    let wanted = body_of(certificate);
    timeout(PATIENCE, async {
        while shown(edge, name).await != wanted {}
    })
    .await
    .expect("the new certificate is shown");
}

#[tokio::test]
async fn apps_are_served_over_tls_by_name() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let mut curl = tokio::process::Command::new("curl");
    let host = format!("web.mayfly.test:{}", edge.https.port());
    curl.args(["-sk", "--max-time", "20", "--resolve"])
        .arg(format!("{host}:127.0.0.1"))
        .arg(format!("https://{host}/x"))
        .stdout(Stdio::piped());
    let child = curl.spawn().unwrap();
    let mut machine = accept(&listener).await;
    let request = read_until(&mut machine, "\r\n\r\n").await;
    assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("X-Forwarded-Proto: https\r\n"),
        "{request}"
    );
    machine
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .await
        .unwrap();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello");
    edge.end().await;
}

#[tokio::test]
async fn certificates_change_and_connections_stay() {
    let edge = TestEdge::start(Vec::new()).await;
    let text = s_client(edge.https, &["-servername", "other.example"], "").await;
    assert!(text.contains("no peer certificate available"), "{text}");

    let first = certificate(&["www.example.com"]);
    edge.publish(&[&first]).await;
    until_shown(&edge, "www.example.com", &first).await;

    // A connection from before the change is used after it.
    let mut old = Command::new("openssl")
        .args(["s_client", "-quiet", "-servername", "www.example.com"])
        .args(["-connect", &edge.https.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let second = certificate(&["*.example.com"]);
    edge.publish(&[&second]).await;
    until_shown(&edge, "www.example.com", &second).await;
    assert_ne!(shown(&edge, "a.www.example.com").await, body_of(&second));
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut stdin = old.stdin.take().unwrap();
        stdin
            .write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        old.stdout
            .take()
            .unwrap()
            .read_to_string(&mut answer)
            .unwrap();
        old.wait().unwrap();
        answer
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    edge.end().await;
}

#[tokio::test]
async fn openssl_may_ask_for_new_keys() {
    let edge = TestEdge::start(Vec::new()).await;
    let mut client = tokio::process::Command::new("openssl")
        .args(["s_client", "-tls1_3", "-servername", "web.mayfly.test"])
        .args(["-connect", &edge.https.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let (mut stdout, mut stderr) = (client.stdout.take().unwrap(), client.stderr.take().unwrap());
    // Commands are one letter at the beginning of what is typed: both sides get new keys.
    stdin.write_all(b"K\n").await.unwrap();
    read_until(&mut stderr, "KEYUPDATE").await;
    let request = b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\nConnection: close\r\n\r\n";
    stdin.write_all(request).await.unwrap();
    read_until(&mut stdout, "HTTP/1.1 404").await;
    drop(stdin);
    timeout(PATIENCE, client.wait()).await.unwrap().unwrap();
    edge.end().await;
}

#[tokio::test]
async fn sessions_resume_on_any_core() {
    let edge = TestEdge::start_as(Vec::new(), |config| config.cores = 4).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [version, "-servername", "web.mayfly.test", "-reconnect"];
        let text = s_client(edge.https, &arguments, "").await;
        if version == "-tls1_2" {
            assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
        } else {
            assert!(text.contains("New, TLSv1.3"), "{text}");
        }
    }
    edge.end().await;
}

#[tokio::test]
async fn ownership_is_proved_to_an_authority_that_asks() {
    let edge = TestEdge::start(Vec::new()).await;
    let proof = certificate(&["shop.example"]);
    edge.directory.send_modify(|directory| {
        Arc::make_mut(directory).challenges = vec![Challenge::TlsAlpn01 {
            hostname: "shop.example".to_owned(),
            certificate: Arc::clone(&proof),
        }];
    });
    let asks = ["-servername", "shop.example", "-alpn", "acme-tls/1"];
    timeout(PATIENCE, async {
        loop {
            let text = s_client(edge.https, &asks, "").await;
            if text.contains("ALPN protocol: acme-tls/1") {
                break assert!(text.replace('\n', "").contains(&body_of(&proof)), "{text}");
            }
        }
    })
    .await
    .expect("the proof is given");
    assert_ne!(shown(&edge, "shop.example").await, body_of(&proof));
    edge.end().await;
}

#[tokio::test]
async fn other_protocols_at_the_tls_port_are_told() {
    let edge = TestEdge::start(Vec::new()).await;
    let mut stream = TcpStream::connect(edge.https).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.ends_with("This port speaks TLS: use https://...\n"),
        "{answer}"
    );
    let mut stream = TcpStream::connect(edge.https).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 0xff, 0xff]).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    edge.end().await;
}

#[tokio::test]
async fn a_balancer_in_front_says_who_the_client_is() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start_as(vec![entry("web", port)], |config| {
        config.accept_proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    for piece in [
        "PROXY TCP4 203.0.113.7",
        " 192.0.2.1 40000 80\r\nGET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n",
    ] {
        client.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut machine = accept(&listener).await;
    let request = read_until(&mut machine, "\r\n\r\n").await;
    assert!(
        request.contains("Fly-Client-IP: 203.0.113.7\r\n"),
        "{request}"
    );
    let mut without = TcpStream::connect(edge.address).await.unwrap();
    without
        .write_all(b"GET / HTTP/1.1\r\nHost: web.mayfly.test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // Whether the end is one in order depends on what was under way.
    let _ = timeout(PATIENCE, without.read_to_end(&mut answer))
        .await
        .expect("the edge ends the connection");
    assert!(answer.is_empty());
    edge.end().await;
}
