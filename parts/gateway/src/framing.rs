//! Datagrams in a stream of bytes: a magic number, then each datagram behind its length (32 bits, big endian). A length
//! of 0 keeps the connection alive. From the gateway there is no magic number.

/// What a device sends first.
pub(crate) const MAGIC: [u8; 4] = [0x2f, 0xac, 0xed, 0x77];
const LENGTH: usize = 4;
/// The largest datagram of UDP.
const DATAGRAM_MAX: usize = 65_535;

/// The stream is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the stream does not begin with the magic number of tunnels")]
    Magic,
    #[error("a datagram of {0} bytes")]
    TooLong(usize),
}

/// Cuts a device's stream into datagrams.
#[derive(Debug, Default)]
pub(crate) struct Unframer {
    bytes: Vec<u8>,
    /// Whether the magic number has passed.
    begun: bool,
}

impl Unframer {
    /// Takes a piece of the stream and hands over every datagram that is whole.
    pub(crate) fn take(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Broken> {
        self.bytes.extend_from_slice(piece);
        let mut rest = self.bytes.as_slice();
        if !self.begun {
            let Some((magic, behind)) = rest.split_at_checked(MAGIC.len()) else {
                return Ok(());
            };
            if magic != MAGIC {
                return Err(Broken::Magic);
            }
            self.begun = true;
            rest = behind;
        }
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > DATAGRAM_MAX {
                return Err(Broken::TooLong(length));
            }
            let Some((datagram, behind)) = behind.split_at_checked(length) else {
                break;
            };
            if !datagram.is_empty() {
                each(datagram);
            }
            rest = behind;
        }
        let done = self.bytes.len() - rest.len();
        self.bytes.drain(..done);
        Ok(())
    }
}

/// Appends a datagram to what is sent to a device.
pub(crate) fn frame(datagram: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(datagram.len()).expect("datagrams are short");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(datagram);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn datagrams_come_back_however_the_stream_is_cut(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1usize..50,
        ) {
            let mut stream = MAGIC.to_vec();
            for datagram in &datagrams {
                frame(datagram, &mut stream);
            }
            let mut unframer = Unframer::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                unframer.take(piece, |datagram| found.push(datagram.to_vec())).unwrap();
            }
            let sent: Vec<Vec<u8>> = datagrams.into_iter().filter(|one| !one.is_empty()).collect();
            prop_assert_eq!(found, sent);
        }
    }

    #[test]
    fn strangers_are_told_apart() {
        let mut unframer = Unframer::default();
        assert_eq!(unframer.take(b"GET ", |_| {}), Err(Broken::Magic));
        let mut unframer = Unframer::default();
        let stream = [&MAGIC[..], &[0, 1, 0, 0]].concat();
        assert_eq!(unframer.take(&stream, |_| {}), Err(Broken::TooLong(65_536)));
    }
}
