//! What a client of HTTP/2 can do with frames that no library sends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http2::serve_each;
use super::{PATIENCE, TestEdge, entry, machine, ok};

const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE: u8 = 5;
/// `GET` of `/` at `web.mayfly.test` without TLS.
const GET: &[u8] = b"\x82\x86\x84\x01\x0fweb.mayfly.test";
const CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

async fn connect(edge: &TestEdge) -> TcpStream {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(GREETING).await.unwrap();
    stream
}

/// The next frame; `None` once the edge has ended the connection.
async fn read(stream: &mut TcpStream) -> Option<Frame> {
    let reading = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [high, middle, low, kind, flags, number @ ..] = head;
        let mut payload =
            vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(number),
            payload,
        })
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the edge says something")
}

async fn read_until(stream: &mut TcpStream, kind: u8) -> Option<Frame> {
    loop {
        let frame = read(stream).await?;
        if frame.kind == kind {
            return Some(frame);
        }
    }
}

/// The reason of the goodbye.
async fn reason(stream: &mut TcpStream) -> u32 {
    let goodbye = read_until(stream, GOAWAY).await.expect("a goodbye");
    u32::from_be_bytes(goodbye.payload[4..8].try_into().unwrap())
}

#[tokio::test]
async fn requests_given_up_or_broken_by_the_hundred_in_one_write_end_the_connection() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let machine = serve_each(listener, |_| ok("hello").into_bytes());
    let cancel = |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
    let provoke = |id| frame(WINDOW_UPDATE, 0, id, &[0; 4]);
    let repeat = |id| frame(HEADERS, WHOLE, id, &[GET, b"\x00\x01X\x01y"].concat());
    let behind: [&dyn Fn(u32) -> Vec<u8>; 3] = [&cancel, &provoke, &repeat];
    for (which, behind) in behind.iter().enumerate() {
        let mut stream = connect(&edge).await;
        let mut many = Vec::new();
        for id in (1..2_400).step_by(2) {
            if which < 2 {
                many.extend(frame(HEADERS, 4, id, GET));
            }
            many.extend(behind(id));
        }
        // The edge may close while we are at it.
        let (mut reader, mut writer) = stream.split();
        let mut all = Vec::new();
        let (_, read) = tokio::join!(
            writer.write_all(&many),
            timeout(PATIENCE, reader.read_to_end(&mut all))
        );
        read.expect("the edge ends the connection").unwrap();
        let goodbye = all.len() - 4;
        assert_eq!(all[goodbye..], CALM.to_be_bytes(), "way {which}");
    }
    machine.abort();
    edge.end().await;
}

#[tokio::test]
async fn heads_that_are_too_long_are_answered_and_those_without_end_are_not() {
    let edge = TestEdge::start(vec![]).await;
    let mut stream = connect(&edge).await;
    // A name of one byte and a value of 127 + 1 + 125 * 128.
    let field = [&b"\x00\x01x\x7f\x81\x7d"[..], &[b'y'; 16_128]].concat();
    let mut head = frame(HEADERS, 1, 1, GET);
    for part in 0..5 {
        let flags = if part == 4 { 4 } else { 0 };
        head.extend(frame(CONTINUATION, flags, 1, &field));
    }
    stream.write_all(&head).await.unwrap();
    let answer = read_until(&mut stream, HEADERS).await.expect("an answer");
    let status = answer.payload.windows(3).any(|three| three == b"431");
    assert!(answer.stream == 1 && status, "{:?}", answer.payload);
    let body = read_until(&mut stream, DATA).await.unwrap();
    assert_eq!(body.flags & 1, 1, "the answer ends");
    // The connection goes on, and remembers what it should.
    stream
        .write_all(&frame(HEADERS, WHOLE, 3, GET))
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, HEADERS).await.unwrap().stream, 3);

    stream.write_all(&frame(HEADERS, 1, 5, GET)).await.unwrap();
    let endless = frame(CONTINUATION, 0, 5, b"").repeat(100);
    stream.write_all(&endless).await.unwrap();
    assert_eq!(reason(&mut stream).await, CALM);
    edge.end().await;
}

#[tokio::test]
async fn a_goodbye_leaves_time_for_what_is_under_way() {
    let (listener, port) = machine().await;
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let machine = serve_each(listener, |_| ok("hello").into_bytes());
    let mut stream = connect(&edge).await;
    stream
        .write_all(&frame(HEADERS, WHOLE, 1, GET))
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, HEADERS).await.unwrap().stream, 1);
    edge.stop.cancel();
    let goodbye = read_until(&mut stream, GOAWAY).await.unwrap();
    assert_eq!(goodbye.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let ping = read_until(&mut stream, PING).await.unwrap();
    // Sent before we knew: it is served.
    stream
        .write_all(&frame(HEADERS, WHOLE, 3, GET))
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, HEADERS).await.unwrap().stream, 3);
    stream
        .write_all(&frame(PING, 1, 0, &ping.payload))
        .await
        .unwrap();
    let goodbye = read_until(&mut stream, GOAWAY).await.unwrap();
    assert_eq!(goodbye.payload, [0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(
        read(&mut stream).await.is_none(),
        "then the connection ends"
    );
    machine.abort();
    edge.end().await;
}
