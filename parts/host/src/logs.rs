use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mayfly_host_api::{HostError, LogEntry, LogPage, LogQuery};
use mayfly_logs::{LogError, LogReader, Record};
use mayfly_types::MachineId;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use crate::HostConfig;
use crate::error;

/// Whether a machine's log is still written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Open,
    /// The machine is destroyed: its log was put aside.
    Ended,
}

/// A page of the machines' lines; waits for one if there is none and the query has patience. `writing` says of each
/// machine of the query where its log is.
pub(crate) async fn page(
    config: &HostConfig,
    query: LogQuery,
    writing: &[Writing],
) -> Result<LogPage, HostError> {
    let until = tokio::time::Instant::now() + query.patience;
    let ids = query.machines.iter().map(|(id, _)| *id);
    let dirs: Vec<(MachineId, PathBuf)> = ids
        .zip(writing)
        .map(|(id, writing)| match writing {
            Writing::Open => (id, config.log_dir(id)),
            Writing::Ended => (id, config.kept_log_dir(id)),
        })
        .collect();
    // Watching begins before reading, so that no line falls between the two.
    let open = dirs.iter().zip(writing);
    let watched = open.filter_map(|((_, dir), writing)| match writing {
        Writing::Open => Some(dir.as_path()),
        Writing::Ended => None,
    });
    let watch = (!query.patience.is_zero())
        .then(|| LogWatch::new(watched))
        .and_then(Result::ok);
    loop {
        let (dirs, asked) = (dirs.clone(), query.clone());
        let page = tokio::task::spawn_blocking(move || read(&dirs, &asked))
            .await
            .expect("reading lines does not panic")
            .map_err(|(id, source)| error::log(id, source))?;
        if !page.entries.is_empty() || tokio::time::Instant::now() >= until {
            return Ok(page);
        }
        let left = until - tokio::time::Instant::now();
        match &watch {
            Some(watch) if watch.is_complete => {
                // The end of the patience is looked at above.
                let _ = tokio::time::timeout(left, watch.changed()).await;
            }
            Some(watch) => {
                let _ = tokio::time::timeout(left.min(LOOK_EVERY), watch.changed()).await;
            }
            // The kernel's limit of watches is used up.
            None => tokio::time::sleep(left.min(LOOK_EVERY)).await,
        }
    }
}

/// How often logs are looked at that cannot be watched.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn read(dirs: &[(MachineId, PathBuf)], query: &LogQuery) -> Result<LogPage, (MachineId, LogError)> {
    let mut queues = Vec::with_capacity(dirs.len());
    let mut is_tail = true;
    for ((id, after), (_, dir)) in query.machines.iter().zip(dirs) {
        let reader = LogReader::new(dir);
        let records = match query.tail {
            Some(count) if *after == 0 => reader.last(count),
            _ => {
                is_tail = false;
                reader.after(*after, query.limit)
            }
        };
        let records = records.map_err(|error| (*id, error))?;
        queues.push((*id, *after, VecDeque::from(records)));
    }
    let limit = match query.tail {
        Some(count) if is_tail => {
            drop_front(&mut queues, count.min(query.limit));
            query.limit
        }
        _ => query.limit,
    };
    Ok(merge(queues, limit))
}

type Queue = (MachineId, u64, VecDeque<Record>);

fn oldest(queues: &mut [Queue]) -> Option<&mut Queue> {
    queues
        .iter_mut()
        .filter(|(.., records)| !records.is_empty())
        .min_by_key(|(.., records)| records[0].at)
}

/// Leaves the newest `count` lines of all queues together.
fn drop_front(queues: &mut [Queue], count: usize) {
    let mut total: usize = queues.iter().map(|(.., records)| records.len()).sum();
    while total > count
        && let Some((_, after, records)) = oldest(queues)
        && let Some(record) = records.pop_front()
    {
        *after = record.seq;
        total -= 1;
    }
}

/// By time, but never against a machine's own order.
fn merge(mut queues: Vec<Queue>, limit: usize) -> LogPage {
    let mut entries = Vec::new();
    while entries.len() < limit
        && let Some((id, after, records)) = oldest(&mut queues)
        && let Some(record) = records.pop_front()
    {
        *after = record.seq;
        entries.push(entry(*id, record));
    }
    LogPage {
        entries,
        cursors: queues
            .into_iter()
            .map(|(id, after, _)| (id, after))
            .collect(),
    }
}

fn entry(machine_id: MachineId, record: Record) -> LogEntry {
    LogEntry {
        machine_id,
        seq: record.seq,
        at: record.at,
        source: record.source.to_string(),
        stream: record.stream,
        container: record.container,
        message: record.message,
    }
}

/// The kernel's word that something was written into one of several directories.
struct LogWatch {
    fd: AsyncFd<OwnedFd>,
    /// Whether every directory is watched; a machine that is just being made or destroyed may have none.
    is_complete: bool,
}

impl LogWatch {
    fn new<'a>(dirs: impl Iterator<Item = &'a Path>) -> std::io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let fd = inotify::init(flags)?;
        let mut is_complete = true;
        for dir in dirs {
            let written = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
            match inotify::add_watch(&fd, dir, written) {
                Ok(_) => {}
                Err(rustix::io::Errno::NOENT) => is_complete = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(LogWatch {
            // Deprecated for descriptors that somebody else may close; this one is owned here.
            #[allow(deprecated)]
            fd: AsyncFd::new(fd)?,
            is_complete,
        })
    }

    /// Something was written since the last call, or since the watch was made.
    async fn changed(&self) {
        let Ok(mut ready) = self.fd.readable().await else {
            return;
        };
        let mut buffer = [0; 4096];
        // What exactly is of no interest; the readers look themselves.
        while rustix::io::read(self.fd.get_ref().as_fd(), &mut buffer).is_ok_and(|read| read > 0) {}
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_logs::Source;
    use mayfly_types::Timestamp;

    fn record(seq: u64, at: i64) -> Record {
        Record {
            seq,
            at: Timestamp::from_millis(at),
            source: Source::App,
            stream: "stdout".into(),
            container: None,
            message: String::new(),
        }
    }

    fn queues() -> Vec<Queue> {
        let (a, b) = (
            MachineId::from_random([1; 14]),
            MachineId::from_random([2; 14]),
        );
        let first = vec![record(1, 10), record(2, 5), record(3, 40)];
        let second = vec![record(8, 20), record(9, 30)];
        vec![(a, 0, first.into()), (b, 7, second.into())]
    }

    #[test]
    fn pages_merge_by_time_and_keep_each_machines_order() {
        let page = merge(queues(), 4);
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [1, 2, 8, 9]);
        let cursors: Vec<u64> = page.cursors.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(cursors, [2, 9], "line 3 is on the next page");
    }

    #[test]
    fn a_tail_counts_over_all_machines() {
        let mut queues = queues();
        drop_front(&mut queues, 2);
        let page = merge(queues, 100);
        let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [9, 3]);
    }
}
