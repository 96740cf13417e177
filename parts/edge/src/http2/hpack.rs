//! HPACK, the compression of header fields (RFC 7541), without any input or output.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod static_table;
mod table;

pub(super) use decoder::Decoder;
pub(super) use encoder::Encoder;

/// The size of a dynamic table that neither side has spoken about, and the largest we keep, in bytes of RFC 7541, 4.1.
const TABLE_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
