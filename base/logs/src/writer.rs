use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::At;
use crate::record::Stored;
use crate::segment::Segment;
use crate::{Line, LogError, LogLimits};

/// Appends to one machine's log. Any number of writers, in any processes, may share a directory.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    limits: LogLimits,
    lock: File,
    /// Where this writer left the log; another one may have gone on from there.
    tail: Option<Tail>,
    buffer: Vec<u8>,
}

/// The end of the last segment, known to be whole.
#[derive(Debug)]
struct Tail {
    segment: Segment,
    file: File,
    bytes: u64,
    next: u64,
}

impl LogWriter {
    /// Makes the directory if it is missing. Looks at no segment yet.
    pub fn open(dir: impl Into<PathBuf>, limits: LogLimits) -> Result<Self, LogError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).at("make log directory", &dir)?;
        let path = dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("open log lock", &path)?;
        Ok(LogWriter {
            dir,
            limits,
            lock,
            tail: None,
            buffer: Vec::new(),
        })
    }

    /// Appends lines, one after the other and none of another writer between them, and returns the sequence number of
    /// the last (of the log's last line if `lines` is empty).
    ///
    /// # Errors
    /// Nothing was appended. Trying again is safe.
    pub fn append(&mut self, lines: &[Line<'_>]) -> Result<u64, LogError> {
        self.lock_for(FlockOperation::LockExclusive)?;
        let appended = self.append_locked(lines);
        if appended.is_err() {
            self.tail = None;
        }
        let unlocked = self.lock_for(FlockOperation::Unlock);
        let last = appended?;
        unlocked?;
        Ok(last)
    }

    /// Makes the appended lines survive a power cut.
    pub fn sync(&self) -> Result<(), LogError> {
        match &self.tail {
            Some(tail) => tail.file.sync_data().at("sync log", &tail.segment.path),
            None => Ok(()),
        }
    }

    fn lock_for(&self, operation: FlockOperation) -> Result<(), LogError> {
        rustix::io::retry_on_intr(|| flock(&self.lock, operation)).at("lock log", &self.dir)
    }

    fn append_locked(&mut self, lines: &[Line<'_>]) -> Result<u64, LogError> {
        let mut tail = match self.tail.take() {
            Some(tail) if tail.is_current(&self.dir)? => tail,
            _ => Tail::find(&self.dir)?,
        };
        if tail.bytes >= self.limits.segment_bytes && !lines.is_empty() {
            tail = Tail::start(&self.dir, tail.next)?;
            self.drop_oldest()?;
        }
        self.buffer.clear();
        for (seq, line) in (tail.next..).zip(lines) {
            serde_json::to_writer(&mut self.buffer, &Stored::new(seq, line))
                .map_err(io::Error::from)
                .at("encode line for", &tail.segment.path)?;
            self.buffer.push(b'\n');
        }
        if let Err(error) = tail.file.write_all(&self.buffer) {
            // What did get in was not acknowledged: the caller may send it again.
            let _ = tail.file.set_len(tail.bytes);
            return Err(error).at("append to log", &tail.segment.path);
        }
        tail.bytes += self.buffer.len() as u64;
        tail.next += lines.len() as u64;
        let last = tail.next - 1;
        self.tail = Some(tail);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(last)
    }

    fn drop_oldest(&self) -> Result<(), LogError> {
        let mut segments = Segment::list(&self.dir)?;
        segments.pop(); // the one just begun
        let mut kept = 0;
        for segment in segments.iter().rev() {
            kept += fs::metadata(&segment.path)
                .at("inspect", &segment.path)?
                .len();
            if kept > self.limits.kept_bytes {
                fs::remove_file(&segment.path).at("drop", &segment.path)?;
            }
        }
        Ok(())
    }
}

/// A monitor keeps its writer for the machine's whole life, and its memory counts for every machine.
const BUFFER_KEPT_BYTES: usize = 4096;

impl Tail {
    /// Whether nobody wrote since. A longer, shorter or finished segment means somebody did.
    fn is_current(&self, dir: &Path) -> Result<bool, LogError> {
        let path = &self.segment.path;
        let metadata = self.file.metadata().at("inspect", path)?;
        if metadata.len() != self.bytes || std::os::unix::fs::MetadataExt::nlink(&metadata) == 0 {
            return Ok(false);
        }
        // Another writer begins a new segment with exactly the number that comes next here.
        let follower = Segment::starting_at(dir, self.next);
        Ok(follower.first == self.segment.first
            || !follower.path.try_exists().at("inspect", &follower.path)?)
    }

    fn start(dir: &Path, first: u64) -> Result<Tail, LogError> {
        let segment = Segment::starting_at(dir, first);
        let file = open_segment(&segment.path)?;
        Ok(Tail {
            segment,
            file,
            bytes: 0,
            next: first,
        })
    }

    /// Finds the end of the log and cuts off what is not a whole line of it.
    fn find(dir: &Path) -> Result<Tail, LogError> {
        let Some(segment) = Segment::list(dir)?.pop() else {
            return Tail::start(dir, 1);
        };
        let mut file = open_segment(&segment.path)?;
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(0))
            .at("read log", &segment.path)?;
        file.read_to_end(&mut content)
            .at("read log", &segment.path)?;
        let (bytes, next) = whole_lines(&content, segment.first);
        if bytes < content.len() as u64 {
            file.set_len(bytes).at("repair log", &segment.path)?;
        }
        Ok(Tail {
            segment,
            file,
            bytes,
            next,
        })
    }
}

fn open_segment(path: &Path) -> Result<File, LogError> {
    File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(path)
        .at("open log segment", path)
}

/// The length of the whole lines at the start of a segment, and the number the next line has. Only the last line is
/// decoded: a power cut may leave a line end behind bytes that never reached the disk, and then the one before, and so on.
fn whole_lines(content: &[u8], first: u64) -> (u64, u64) {
    let mut ends: Vec<usize> = content
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    while let Some(end) = ends.pop() {
        let begin = ends.last().copied().unwrap_or(0);
        let seq = first + ends.len() as u64;
        let whole = serde_json::from_slice::<Stored<'_>>(&content[begin..end]);
        if whole.is_ok_and(|line| line.seq == seq) {
            return (end as u64, seq + 1);
        }
    }
    (0, first)
}
