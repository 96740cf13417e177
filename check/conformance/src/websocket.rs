use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// A plain WebSocket client for tests of who answers and how it ends (RFC 6455). What the protocol may do otherwise is
/// for the suites in `websocket.rs` of the tests.
pub struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    /// # Panics
    /// If the edge or the machine does not open one.
    #[track_caller]
    pub fn open(edge: SocketAddr, app: &str, path: &str, fields: &[(&str, &str)]) -> WebSocket {
        let mut stream = TcpStream::connect(edge).expect("the edge listens");
        let patience = Some(Duration::from_secs(60));
        stream
            .set_read_timeout(patience)
            .expect("a socket takes it");
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {app}.mayfly.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).expect("the edge reads");
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut answer).expect("the edge answers");
            assert!(read > 0, "the edge hung up after {answer:?}");
        }
        assert!(
            answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{answer}"
        );
        WebSocket(reader)
    }

    /// Sends a text and returns the next one.
    #[track_caller]
    pub fn ask(&mut self, text: &str) -> String {
        self.send(TEXT, text.as_bytes()).expect("the edge reads");
        let (kind, payload) = self.frame().expect("the other side answers");
        assert_eq!(kind, TEXT);
        String::from_utf8(payload).expect("a text is UTF-8")
    }

    /// Says goodbye as one does who has nothing more to say.
    #[track_caller]
    pub fn close(&mut self) {
        self.send(CLOSE, &1000_u16.to_be_bytes())
            .expect("the edge reads");
    }

    /// Waits for the other side's goodbye and answers it; its code, `None` if the connection ended without one.
    pub fn closed(&mut self) -> Option<u16> {
        loop {
            match self.frame() {
                Ok((CLOSE, payload)) => {
                    // It may be the answer to ours.
                    let _ = self.send(CLOSE, &payload);
                    return Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len())
            .ok()
            .filter(|length| *length < 126);
        let length = length.expect("tests say little");
        let mut frame = vec![0x80 | kind, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.get_mut().write_all(&frame)
    }

    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        assert!(
            head[0] & 0x80 != 0 && head[1] < 126,
            "a short frame: {head:?}"
        );
        let mut payload = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }
}
