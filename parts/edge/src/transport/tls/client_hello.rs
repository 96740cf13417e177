//! What a client says first in TLS, read without taking part in the handshake (RFC 8446, 4.1.2 and 5.1).

/// Larger first messages are refused: browsers send about 2 KiB, with post-quantum keys.
pub(crate) const HELLO_MAX: usize = 16 * 1024;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// RFC 8737.
const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// The part of a `ClientHello` that decides who serves the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// Lower case, without a dot at the end.
    pub(crate) server_name: Option<String>,
    /// It offers the protocol of ACME's proofs and no other.
    pub(crate) proves_ownership: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHello {
    #[error("these bytes are not TLS")]
    NotTls,
    #[error("the first message is broken")]
    Broken,
    #[error("the first message is larger than {HELLO_MAX} bytes")]
    TooLarge,
}

impl ClientHello {
    /// `None` means that more bytes are needed. What follows the message is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<ClientHello>, NotHello> {
        let mut message = Vec::new();
        let mut rest = bytes;
        loop {
            if let Some(body) = body_of(&message)? {
                return body_fields(body).ok_or(NotHello::Broken).map(Some);
            }
            let Some(fragment) = next_fragment(&mut rest)? else {
                return Ok(None);
            };
            message.extend_from_slice(fragment);
        }
    }
}

/// The message's body once all of it is there.
fn body_of(message: &[u8]) -> Result<Option<&[u8]>, NotHello> {
    let [kind, high, middle, low, ..] = *message else {
        return match message.first() {
            Some(&kind) if kind != CLIENT_HELLO => Err(NotHello::NotTls),
            _ => Ok(None),
        };
    };
    if kind != CLIENT_HELLO {
        return Err(NotHello::NotTls);
    }
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length + MESSAGE_HEADER > HELLO_MAX {
        return Err(NotHello::TooLarge);
    }
    Ok(message.get(MESSAGE_HEADER..MESSAGE_HEADER + length))
}

fn next_fragment<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, NotHello> {
    // Judged byte by byte, so that somebody who speaks another protocol is not waited for.
    for (byte, expected) in rest.iter().zip([HANDSHAKE_RECORD, 3]) {
        if *byte != expected {
            return Err(NotHello::NotTls);
        }
    }
    let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 {
        return Err(NotHello::Broken);
    }
    if length > HELLO_MAX {
        return Err(NotHello::TooLarge);
    }
    let Some((fragment, after)) = after.split_at_checked(length) else {
        return Ok(None);
    };
    *rest = after;
    Ok(Some(fragment))
}

fn body_fields(body: &[u8]) -> Option<ClientHello> {
    let mut rest = body;
    take(&mut rest, 2 + 32)?; // version and random
    vector8(&mut rest)?; // session
    vector16(&mut rest)?; // ciphers
    vector8(&mut rest)?; // compressions
    let mut hello = ClientHello::default();
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = vector16(&mut rest)?;
    while !extensions.is_empty() {
        let kind = number16(&mut extensions)?;
        let data = vector16(&mut extensions)?;
        match kind {
            SERVER_NAME => hello.server_name = host_name(data)?,
            ALPN => hello.proves_ownership = offers_only_acme(data)?,
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066, 3. A name that cannot be one of DNS counts as none.
fn host_name(data: &[u8]) -> Option<Option<String>> {
    let mut rest = data;
    let mut names = vector16(&mut rest)?;
    while !names.is_empty() {
        let kind = take(&mut names, 1)?[0];
        let name = vector16(&mut names)?;
        if kind == 0 {
            let name = name.strip_suffix(b".").unwrap_or(name);
            let plausible = (1..=253).contains(&name.len())
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
            let text = std::str::from_utf8(name).ok().filter(|_| plausible);
            return Some(text.map(str::to_ascii_lowercase));
        }
    }
    Some(None)
}

fn offers_only_acme(data: &[u8]) -> Option<bool> {
    let mut rest = data;
    let mut protocols = vector16(&mut rest)?;
    let first = vector8(&mut protocols)?;
    Some(first == ACME_PROTOCOL && protocols.is_empty())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn number16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn vector8<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 1)?[0];
    take(rest, usize::from(length))
}

fn vector16<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number16(rest)?;
    take(rest, usize::from(length))
}

#[cfg(test)]
mod tests;
