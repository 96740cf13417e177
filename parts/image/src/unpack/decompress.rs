use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How compressed archives begin.
pub(crate) const COMPRESSED: [&[u8]; 2] = [GZIP, ZSTD];
/// Large enough that the cost of a read does not matter.
const BUFFER: usize = 256 * 1024;
/// 128 MiB: what zstd's own tools accept without being told to. A frame that wants more is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The plain bytes of a blob. What it is follows from its first bytes: media types are often missing or wrong.
pub(crate) fn decompress<'a>(mut blob: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    (&mut blob).take(4).read_to_end(&mut magic)?;
    let is = |format: &[u8]| magic.starts_with(format);
    let (gzip, zstd) = (is(GZIP), is(ZSTD));
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(blob));
    if gzip {
        Ok(Box::new(MultiGzDecoder::new(whole)))
    } else if zstd {
        let mut decoder = zstd::Decoder::with_buffer(whole)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Ok(Box::new(decoder))
    } else {
        Ok(Box::new(whole))
    }
}
