//! Clients of HTTP/2 that give the edge more work than they take themselves.

use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http2::{Client, get};
use super::{PATIENCE, TestEdge, entry, machine};

/// The reason of the goodbye that a flood of `frame`s is answered with; `None` if each got its acknowledgement.
async fn reason_for_flood(edge: &TestEdge, frame: &[u8], count: usize) -> Option<u32> {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let (mut reader, mut writer) = stream.split();
    let flood = frame.repeat(count);
    let sending = async {
        // The edge may close while we are at it.
        let _ = writer.write_all(&flood).await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut answers = 0;
        while answers < count {
            let mut head = [0; 9];
            reader.read_exact(&mut head).await.ok()?;
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            reader.read_exact(&mut payload).await.ok()?;
            if head[3] == 7 {
                return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
            answers += usize::from(head[3] == frame[3] && head[4] == 1);
        }
        None
    };
    tokio::select! {
        () = sending => None,
        reason = timeout(PATIENCE, reading) => reason.expect("all frames are answered, or a goodbye comes"),
    }
}

#[tokio::test]
async fn floods_are_told_to_calm_down() {
    const CALM: Option<u32> = Some(11);
    let edge = TestEdge::start(vec![]).await;
    let ping = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let priority = b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\0";
    for (what, frame) in [
        ("ping", &ping[..]),
        ("settings", settings),
        ("priority", priority),
    ] {
        assert_eq!(reason_for_flood(&edge, frame, 10_000).await, CALM, "{what}");
    }
    assert_eq!(
        reason_for_flood(&edge, ping, 500).await,
        None,
        "few are answered"
    );
    edge.end().await;
}

#[tokio::test]
async fn a_client_that_only_gives_up_requests_loses_its_connection() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    #[allow(clippy::disallowed_methods)] // aborted below
    let machine = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let client = Client::connect(&edge).await;
    let mut sent = 0;
    let ended = async {
        loop {
            let Ok(mut sender) = client.sender.clone().ready().await else {
                return;
            };
            let Ok((answer, mut stream)) = sender.send_request(get("/"), true) else {
                return;
            };
            sent += 1;
            // Let the edge see the request before it is given up.
            tokio::time::sleep(Duration::from_millis(1)).await;
            stream.send_reset(Reason::CANCEL);
            drop(answer);
        }
    };
    timeout(PATIENCE, ended)
        .await
        .expect("the edge ends the connection");
    assert!((100..5_000).contains(&sent), "after {sent} requests");
    machine.abort();
    edge.end().await;
}
