//! Reads tar archives that may want to harm us.
//!
//! We read them ourselves because the `tar` crate splits extended headers at line ends, which breaks binary attributes
//! such as `security.capability`, reads long names of any size into memory, and does not know sparse files in pax
//! form. Understood: v7, ustar, GNU (long names, sparse files, large numbers) and pax (paths, sizes, owners, times,
//! attributes, sparse files 0.0, 0.1 and 1.0). Global pax headers are skipped, as Docker does.

mod header;
mod pax;
mod sparse;

use std::io::{self, Read};

pub(crate) use header::BLOCK;
use header::{Header, Magic};
use pax::Pax;
pub(crate) use sparse::Segment;

/// One member of an archive; its content follows by [`TarReader::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Permissions with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of the file once unpacked.
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the stored bytes belong, for a file with holes.
    pub(crate) segments: Option<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Device,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("read the archive")]
    Read(#[source] io::Error),
    #[error("the archive ends within an entry")]
    Truncated,
    #[error("the archive has a damaged header: its checksum is wrong")]
    Checksum,
    #[error("the archive has a damaged header: its {0} is no number we can use")]
    Number(&'static str),
    #[error("the archive has a damaged extended header")]
    Pax,
    #[error("names and attributes of an entry take more than {0} bytes")]
    HeaderTooLong(usize),
    #[error("the map of a sparse file is damaged")]
    Sparse,
    #[error("entries of type `{}` are not supported", .0.escape_ascii())]
    Kind(u8),
}

pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes of the current entry not read yet, then its padding.
    left: u64,
    padding: u64,
    /// Bytes of the archive consumed.
    position: u64,
    header_bytes_max: usize,
    ended: bool,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R, header_bytes_max: usize) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
            position: 0,
            header_bytes_max,
            ended: false,
        }
    }

    /// The next member, after skipping what is left of the one before; `None` at the end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut described = Described::default();
        let mut budget = self.header_bytes_max;
        loop {
            self.skip_rest()?;
            if self.ended {
                return Ok(None);
            }
            let Some(header) = self.header()? else {
                self.ended = true;
                // What describes a member that does not come is as good as a cut.
                return if described.is_empty() {
                    Ok(None)
                } else {
                    Err(TarError::Truncated)
                };
            };
            match header.type_flag() {
                b'x' | b'X' => {
                    let records = self.metadata(&header, &mut budget)?;
                    described.pax = Pax::parse(&records)?;
                    described.seen = true;
                }
                b'g' => {
                    self.metadata(&header, &mut budget)?;
                }
                b'L' => {
                    described.long_path = Some(c_string(self.metadata(&header, &mut budget)?));
                    described.seen = true;
                }
                b'K' => {
                    described.long_link = Some(c_string(self.metadata(&header, &mut budget)?));
                    described.seen = true;
                }
                // A volume's label has no content and is no member.
                b'V' => {}
                _ => return self.member(&header, described, budget).map(Some),
            }
        }
    }

    /// Bytes of the archive consumed so far; right after [`TarReader::next_entry`], where the content begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    #[cfg(test)]
    fn left(&self) -> u64 {
        self.left
    }

    /// Reads everything to the end of the input, so that a digest over it is complete.
    pub(crate) fn drain(&mut self) -> Result<(), TarError> {
        io::copy(&mut self.input, &mut io::sink()).map_err(TarError::Read)?;
        Ok(())
    }

    fn member(
        &mut self,
        header: &Header,
        described: Described,
        mut budget: usize,
    ) -> Result<Entry, TarError> {
        let mut pax = described.pax;
        let type_flag = header.type_flag();
        let mut path = pax
            .sparse_name
            .take()
            .or(pax.path.take())
            .or(described.long_path)
            .unwrap_or_else(|| header.path());
        let link = pax
            .link
            .take()
            .or(described.long_link)
            .unwrap_or_else(|| header.link());
        let kind = match type_flag {
            b'0' | 0 if header.magic() == Magic::V7 && path.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' | b'4' => EntryKind::Device,
            b'5' | b'D' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => return Err(TarError::Kind(other)),
        };
        // Only files have content, whatever the header says; a GNU dump directory carries a list we do not need.
        let stored = match kind {
            EntryKind::File => pax.size.map_or_else(|| header.size(), Ok)?,
            _ if type_flag == b'D' => header.size()?,
            _ => 0,
        };
        self.expect_content(stored);
        let mut size = stored;
        let mut segments = None;
        if type_flag == b'S' {
            let (mut map, mut extended) = header.sparse_map()?;
            while extended {
                spend(&mut budget, BLOCK, self.header_bytes_max)?;
                let block = self.block()?.ok_or(TarError::Truncated)?;
                extended = header::extend_sparse_map(&block, &mut map)?;
            }
            size = header.sparse_size()?;
            segments = Some(map);
        } else if kind == EntryKind::File && pax.is_sparse() {
            size = pax.sparse_size.ok_or(TarError::Sparse)?;
            segments = Some(match pax.sparse_map.take() {
                Some(map) => map,
                None => sparse::read_map(self, &mut budget)?,
            });
        }
        if let Some(segments) = &segments {
            sparse::check(segments, size, self.left)?;
        }
        if kind == EntryKind::Directory {
            while path.last() == Some(&b'/') {
                path.pop();
            }
        }
        Ok(Entry {
            path,
            kind,
            mode: header.mode()? & 0o7777,
            uid: id(pax.uid, header.uid(), "owner")?,
            gid: id(pax.gid, header.gid(), "group")?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            size,
            xattrs: pax.xattrs,
            segments,
        })
    }

    /// The content of a header that describes the member after it.
    fn metadata(&mut self, header: &Header, budget: &mut usize) -> Result<Vec<u8>, TarError> {
        let size = header.size()?;
        let too_long = TarError::HeaderTooLong(self.header_bytes_max);
        let size = usize::try_from(size).map_err(|_| too_long)?;
        spend(budget, size.saturating_add(BLOCK), self.header_bytes_max)?;
        self.expect_content(size as u64);
        let mut content = vec![0; size];
        self.read_content(&mut content)?;
        Ok(content)
    }

    fn expect_content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn read_content(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::Truncated,
            _ => TarError::Read(error),
        })
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let rest = self.left.saturating_add(self.padding);
        let skipped =
            io::copy(&mut (&mut self.input).take(rest), &mut io::sink()).map_err(TarError::Read)?;
        self.position += skipped;
        if skipped < self.left {
            return Err(TarError::Truncated);
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next header; `None` at the end of the archive: a block of zeros, or the end of the input where a header
    /// would begin.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        match self.block()? {
            None => Ok(None),
            Some(block) if block.iter().all(|byte| *byte == 0) => Ok(None),
            Some(block) => Header::checked(block).map(Some),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }
}

/// Reads stored bytes of the current entry. An archive that ends within them is an error.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

/// What extra headers said about the member to come.
#[derive(Default)]
struct Described {
    seen: bool,
    pax: Pax,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Described {
    fn is_empty(&self) -> bool {
        !self.seen
    }
}

fn spend(budget: &mut usize, bytes: usize, most: usize) -> Result<(), TarError> {
    *budget = budget
        .checked_sub(bytes)
        .ok_or(TarError::HeaderTooLong(most))?;
    Ok(())
}

fn id(
    pax: Option<u64>,
    header: Result<u64, TarError>,
    field: &'static str,
) -> Result<u32, TarError> {
    let id = pax.map_or(header, Ok)?;
    // The largest value means "leave as it is" to chown(2).
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(TarError::Number(field))
}

fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests;
