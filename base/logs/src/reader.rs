use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use crate::error::At;
use crate::record::Stored;
use crate::segment::Segment;
use crate::{LogError, Record};

/// Reads one machine's log, also while it is written. Takes no lock.
#[derive(Clone, Debug)]
pub struct LogReader {
    dir: PathBuf,
}

impl LogReader {
    /// A directory that does not exist reads as an empty log.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        LogReader { dir: dir.into() }
    }

    /// Up to `limit` records after `seq`; 0 is the beginning. To follow a log, keep a cursor: see [`LogReader::cursor`].
    pub fn after(&self, seq: u64, limit: usize) -> Result<Vec<Record>, LogError> {
        self.cursor(seq).next(limit)
    }

    /// The last `count` records, oldest first.
    pub fn last(&self, count: usize) -> Result<Vec<Record>, LogError> {
        let behind = u64::try_from(count).unwrap_or(u64::MAX);
        self.after(self.newest()?.saturating_sub(behind), count)
    }

    /// The sequence number of the last line, 0 if there was never one.
    pub fn newest(&self) -> Result<u64, LogError> {
        let mut cursor = self.cursor(u64::MAX - 1);
        while let Some(place) = cursor.place()? {
            if !place.next_line(&mut Vec::new())? {
                return Ok(place.next - 1);
            }
        }
        Ok(0)
    }

    /// A place after `seq` from which to read on again and again, cheaply.
    pub fn cursor(&self, seq: u64) -> LogCursor {
        LogCursor {
            reader: self.clone(),
            seq,
            place: None,
        }
    }

    fn segments(&self) -> Result<Vec<Segment>, LogError> {
        match Segment::list(&self.dir) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            other => other,
        }
    }
}

/// Reads on from where it was. Keeps the segment it is in open, so it costs nothing to ask when nothing is new.
#[derive(Debug)]
pub struct LogCursor {
    reader: LogReader,
    seq: u64,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    segment: Segment,
    file: BufReader<File>,
    /// Number of the line at `offset`.
    next: u64,
    offset: u64,
}

impl LogCursor {
    /// The number of the last record handed out, or where this began.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Up to `limit` more records; empty when there are none yet. A first number above `seq() + 1` means that the lines
    /// between were dropped by rotation.
    pub fn next(&mut self, limit: usize) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        self.read(|record| {
            records.push(record);
            records.len() < limit
        })?;
        Ok(records)
    }

    /// Hands out records until `take` says false or there are no more.
    fn read(&mut self, mut take: impl FnMut(Record) -> bool) -> Result<(), LogError> {
        let mut line = Vec::new();
        let mut doubted = None;
        loop {
            let Some(place) = self.place()? else {
                return Ok(());
            };
            if !place.next_line(&mut line)? {
                if self.advance()? {
                    continue;
                }
                return Ok(());
            }
            let number = place.next - 1;
            let path = place.segment.path.clone();
            if number <= self.seq {
                continue;
            }
            match serde_json::from_slice::<Stored<'_>>(&line) {
                Ok(stored) => {
                    self.seq = number;
                    if !take(stored.into()) {
                        return Ok(());
                    }
                }
                // A half line may have been cut off and written anew under our eyes: look once more from the start.
                Err(_) if doubted != Some(number) => {
                    doubted = Some(number);
                    self.place = None;
                }
                Err(source) => {
                    return Err(LogError::Corrupt {
                        path,
                        seq: number,
                        source,
                    });
                }
            }
        }
    }

    fn place(&mut self) -> Result<Option<&mut Place>, LogError> {
        if self.place.is_none() {
            self.place = self.find(self.seq + 1)?;
        }
        Ok(self.place.as_mut())
    }

    /// Opens the segment that holds line `seq`, or the first one after it.
    fn find(&self, seq: u64) -> Result<Option<Place>, LogError> {
        loop {
            let segments = self.reader.segments()?;
            let index = segments.partition_point(|segment| segment.first <= seq);
            let Some(segment) = segments.get(index.saturating_sub(1)) else {
                return Ok(None);
            };
            match File::open(&segment.path) {
                Ok(file) => {
                    return Ok(Some(Place {
                        next: segment.first,
                        segment: segment.clone(),
                        file: BufReader::with_capacity(64 << 10, file),
                        offset: 0,
                    }));
                }
                // Dropped between the listing and the opening.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).at("open log segment", &segment.path),
            }
        }
    }

    /// At the end of a segment: moves to the one that follows, if there is one.
    fn advance(&mut self) -> Result<bool, LogError> {
        let Some(place) = &mut self.place else {
            return Ok(false);
        };
        let next = place.next;
        let current = place.segment.first;
        let newer = self
            .reader
            .segments()?
            .into_iter()
            .any(|segment| segment.first > current && segment.first >= next);
        if !newer {
            return Ok(false);
        }
        // Lines may have come between reading the end and listing; a finished segment gets no more.
        if place.has_more()? {
            return Ok(true);
        }
        self.seq = self.seq.max(next - 1);
        self.place = self
            .find(next)?
            .filter(|place| place.segment.first > current);
        Ok(self.place.is_some())
    }
}

impl Place {
    /// Reads the line at `offset`; false if it is not there or not whole yet.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, LogError> {
        line.clear();
        let path = &self.segment.path;
        self.file.read_until(b'\n', line).at("read log", path)?;
        if line.last() != Some(&b'\n') {
            // Half a line may be cut off and written anew: read it again from its start.
            self.file
                .seek(SeekFrom::Start(self.offset))
                .at("read log", path)?;
            return Ok(false);
        }
        self.offset += line.len() as u64;
        self.next += 1;
        Ok(true)
    }

    fn has_more(&mut self) -> Result<bool, LogError> {
        let mut line = Vec::new();
        let (offset, next) = (self.offset, self.next);
        let more = self.next_line(&mut line)?;
        (self.offset, self.next) = (offset, next);
        self.file
            .seek(SeekFrom::Start(offset))
            .at("read log", &self.segment.path)?;
        Ok(more)
    }
}
