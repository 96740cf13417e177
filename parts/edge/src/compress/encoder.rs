use std::io::{self, Write};

use flate2::write::{GzEncoder, ZlibEncoder};
use zstd::zstd_safe::CParameter;

use super::Coding;

/// Good ratio at little time: answers are coded for one client each.
const FLATE_LEVEL: u32 = 4;
const BROTLI_QUALITY: i32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// 128 KiB of the body are remembered. Larger windows would cost megabytes per answer under way.
const WINDOW_BITS: u32 = 17;

/// Codes one body piece by piece. Whatever was put in can be read by the client at once: every piece ends with a flush,
/// so that what an app streams keeps streaming.
pub(crate) struct Encoder(Kind);

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// # Errors
    /// If there is no memory for the coding's tables.
    pub(crate) fn new(coding: Coding) -> io::Result<Encoder> {
        let level = flate2::Compression::new(FLATE_LEVEL);
        Ok(Encoder(match coding {
            Coding::Gzip => Kind::Gzip(GzEncoder::new(Vec::new(), level)),
            Coding::Deflate => Kind::Deflate(ZlibEncoder::new(Vec::new(), level)),
            Coding::Brotli => Kind::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4096,
                BROTLI_QUALITY as u32,
                WINDOW_BITS,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_BITS))?;
                Kind::Zstd(encoder)
            }
        }))
    }

    /// Codes `data` and appends all of it to `out`.
    pub(crate) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let writer: &mut dyn Write = match &mut self.0 {
            Kind::Gzip(encoder) => encoder,
            Kind::Deflate(encoder) => encoder,
            Kind::Brotli(encoder) => encoder,
            Kind::Zstd(encoder) => encoder,
        };
        writer.write_all(data)?;
        writer.flush()?;
        let coded = match &mut self.0 {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Deflate(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        };
        out.extend_from_slice(coded);
        coded.clear();
        Ok(())
    }

    /// Appends the end of the coded body to `out`.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match self.0 {
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Deflate(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish()?,
        };
        out.extend_from_slice(&rest);
        Ok(())
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Kind::Gzip(_) => "Encoder(gzip)",
            Kind::Deflate(_) => "Encoder(deflate)",
            Kind::Brotli(_) => "Encoder(br)",
            Kind::Zstd(_) => "Encoder(zstd)",
        })
    }
}
