//! Packets on the stream, plain at first and sealed after the first key exchange: RFC 4253, section 6.

use std::io;

use ring::aead::chacha20_poly1305_openssh as chacha;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Larger than any packet a client sends: RFC 4253 demands 35,000, and windows let nobody send more than 32 KiB at once.
const PACKET_MAX: usize = 64 << 10;
const LENGTH: usize = 4;
const TAG: usize = 16;
const PADDING_MIN: usize = 4;

/// A cipher both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    ChaCha20Poly1305,
    Aes256Gcm,
}

impl Cipher {
    /// In the order we would take them.
    pub(crate) const NAMES: [&'static str; 2] =
        ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com"];

    pub(crate) fn named(name: &str) -> Option<Cipher> {
        match name {
            "chacha20-poly1305@openssh.com" => Some(Cipher::ChaCha20Poly1305),
            "aes256-gcm@openssh.com" => Some(Cipher::Aes256Gcm),
            _ => None,
        }
    }

    pub(crate) fn key_length(self) -> usize {
        match self {
            Cipher::ChaCha20Poly1305 => chacha::KEY_LEN,
            Cipher::Aes256Gcm => 32,
        }
    }

    /// Whether an initialization vector goes with the key.
    pub(crate) fn vector_length(self) -> usize {
        match self {
            Cipher::ChaCha20Poly1305 => 0,
            Cipher::Aes256Gcm => 12,
        }
    }

    fn block(self) -> usize {
        match self {
            Cipher::ChaCha20Poly1305 => 8,
            Cipher::Aes256Gcm => 16,
        }
    }
}

/// Nonces of RFC 5647: four fixed bytes and a counter.
struct Counter {
    fixed: [u8; 4],
    next: u64,
}

impl Counter {
    fn new(vector: &[u8]) -> Self {
        let (fixed, count) = vector.split_at(4);
        Counter {
            fixed: fixed.try_into().expect("split at four"),
            next: u64::from_be_bytes(count.try_into().expect("vectors are twelve bytes long")),
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.fixed);
        bytes[4..].copy_from_slice(&self.next.to_be_bytes());
        self.next = self.next.wrapping_add(1);
        Nonce::assume_unique_for_key(bytes)
    }
}

fn gcm(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("keys are 32 bytes long"))
}

enum Seal {
    Plain,
    ChaCha(Box<chacha::SealingKey>),
    Gcm(Box<LessSafeKey>, Counter),
}

enum Open {
    Plain,
    ChaCha(Box<chacha::OpeningKey>),
    Gcm(Box<LessSafeKey>, Counter),
}

/// One direction's key, derived by an exchange.
pub(crate) struct DirectionKey {
    pub(crate) cipher: Cipher,
    pub(crate) key: Vec<u8>,
    pub(crate) vector: Vec<u8>,
}

impl DirectionKey {
    fn chacha(&self) -> &[u8; chacha::KEY_LEN] {
        let key = self.key.as_slice().try_into();
        key.expect("keys are derived at their cipher's length")
    }
}

/// The number of packets after which a key must have been replaced: nonces never repeat.
#[derive(Debug, Default)]
struct Sequence {
    next: u32,
    of_key: u32,
}

impl Sequence {
    fn take(&mut self) -> io::Result<u32> {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.of_key = self
            .of_key
            .checked_add(1)
            .ok_or_else(|| bad("too many packets under one key"))?;
        Ok(number)
    }

    /// `strict` key exchange counts from nought again.
    fn renew(&mut self, strict: bool) {
        self.of_key = 0;
        if strict {
            self.next = 0;
        }
    }
}

/// Sends packets.
pub(crate) struct PacketWriter<W> {
    stream: W,
    seal: Seal,
    block: usize,
    sequence: Sequence,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    pub(crate) fn new(stream: W) -> Self {
        PacketWriter {
            stream,
            seal: Seal::Plain,
            block: 8,
            sequence: Sequence::default(),
            buffer: Vec::new(),
        }
    }

    /// Queues one packet; [`PacketWriter::flush`] sends what is queued.
    pub(crate) fn queue(&mut self, payload: &[u8]) -> io::Result<()> {
        let number = self.sequence.take()?;
        // Sealed lengths are authenticated and not part of what is padded.
        let counted = match self.seal {
            Seal::Plain => LENGTH + 1 + payload.len(),
            _ => 1 + payload.len(),
        };
        let mut padding = self.block - counted % self.block;
        if padding < PADDING_MIN {
            padding += self.block;
        }
        let length = 1 + payload.len() + padding;
        let start = self.buffer.len();
        let whole = u32::try_from(length).map_err(io::Error::other)?;
        self.buffer.extend_from_slice(&whole.to_be_bytes());
        self.buffer
            .push(u8::try_from(padding).expect("padding is less than two blocks"));
        self.buffer.extend_from_slice(payload);
        let end = self.buffer.len() + padding;
        self.buffer.resize(end, 0);
        let packet = &mut self.buffer[start..];
        match &mut self.seal {
            Seal::Plain => {}
            Seal::ChaCha(key) => {
                let mut tag = [0; TAG];
                key.seal_in_place(number, packet, &mut tag);
                self.buffer.extend_from_slice(&tag);
            }
            Seal::Gcm(key, counter) => {
                let (length, body) = packet.split_at_mut(LENGTH);
                let tag = key
                    .seal_in_place_separate_tag(counter.nonce(), Aad::from(&*length), body)
                    .map_err(|_| bad("seal a packet"))?;
                self.buffer.extend_from_slice(tag.as_ref());
            }
        }
        Ok(())
    }

    pub(crate) fn queued(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        self.stream.flush().await
    }

    pub(crate) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.queue(payload)?;
        self.flush().await
    }

    pub(crate) async fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Everything queued from here on is sealed with this key.
    pub(crate) fn renew(&mut self, key: &DirectionKey, strict: bool) {
        self.block = key.cipher.block();
        self.seal = match key.cipher {
            Cipher::ChaCha20Poly1305 => {
                Seal::ChaCha(Box::new(chacha::SealingKey::new(key.chacha())))
            }
            Cipher::Aes256Gcm => Seal::Gcm(Box::new(gcm(&key.key)), Counter::new(&key.vector)),
        };
        self.sequence.renew(strict);
    }
}

/// Receives packets.
pub(crate) struct PacketReader<R> {
    stream: R,
    open: Open,
    sequence: Sequence,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        PacketReader {
            stream,
            open: Open::Plain,
            sequence: Sequence::default(),
        }
    }

    /// A line of text, before the first packet: RFC 4253, section 4.2.
    pub(crate) async fn line(&mut self) -> io::Result<String> {
        const LINE_MAX: usize = 255;
        let mut line = Vec::new();
        loop {
            let byte = self.stream.read_u8().await?;
            if byte == b'\n' {
                break;
            }
            line.push(byte);
            if line.len() > LINE_MAX {
                return Err(bad("the client's first line is too long"));
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| bad("the client's first line is no text"))
    }

    /// The payload of the next packet, and its number. Not to be dropped half-way: what was read would be lost.
    pub(crate) async fn next(&mut self) -> io::Result<(Vec<u8>, u32)> {
        let mut head = [0; LENGTH];
        self.stream.read_exact(&mut head).await?;
        let number = self.sequence.take()?;
        let length = match &self.open {
            Open::ChaCha(key) => u32::from_be_bytes(key.decrypt_packet_length(number, head)),
            Open::Plain | Open::Gcm(..) => u32::from_be_bytes(head),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(1 + PADDING_MIN..=PACKET_MAX).contains(&length) {
            return Err(bad("a packet of an impossible length"));
        }
        let tag_length = if matches!(self.open, Open::Plain) {
            0
        } else {
            TAG
        };
        let mut packet = vec![0; LENGTH + length + tag_length];
        packet[..LENGTH].copy_from_slice(&head);
        self.stream.read_exact(&mut packet[LENGTH..]).await?;
        let forged = |_| bad("a packet that was changed on its way");
        match &mut self.open {
            Open::Plain => {}
            Open::ChaCha(key) => {
                let (body, tag) = packet.split_at_mut(LENGTH + length);
                let tag = (&*tag).try_into().expect("a tag was read");
                key.open_in_place(number, body, tag).map_err(forged)?;
            }
            Open::Gcm(key, counter) => {
                let (head, body) = packet.split_at_mut(LENGTH);
                key.open_in_place(counter.nonce(), Aad::from(&*head), body)
                    .map_err(forged)?;
            }
        }
        packet.truncate(LENGTH + length);
        let padding = usize::from(packet[LENGTH]);
        let payload_end = packet.len().checked_sub(padding);
        let payload_end = payload_end.filter(|end| *end > LENGTH + 1);
        packet.truncate(payload_end.ok_or_else(|| bad("a packet of padding alone"))?);
        packet.drain(..LENGTH + 1);
        Ok((packet, number))
    }

    /// Everything read from here on was sealed with this key.
    pub(crate) fn renew(&mut self, key: &DirectionKey, strict: bool) {
        self.open = match key.cipher {
            Cipher::ChaCha20Poly1305 => {
                Open::ChaCha(Box::new(chacha::OpeningKey::new(key.chacha())))
            }
            Cipher::Aes256Gcm => Open::Gcm(Box::new(gcm(&key.key)), Counter::new(&key.vector)),
        };
        self.sequence.renew(strict);
    }
}

/// The client broke a rule of the protocol.
pub(crate) fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
