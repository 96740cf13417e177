use std::fs;
use std::path::Path;

use mayfly_types::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{Line, LogLimits, LogReader, LogWriter, Record, Source};

const SMALL: LogLimits = LogLimits {
    segment_bytes: 400,
    kept_bytes: 1 << 20,
};

fn line(message: &str) -> Line<'_> {
    Line {
        at: Timestamp::from_millis(1_700_000_000_000),
        source: Source::App,
        stream: "stdout",
        container: None,
        message,
    }
}

fn writer(dir: &Path) -> LogWriter {
    LogWriter::open(dir, SMALL).unwrap()
}

fn messages(records: &[Record]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record.message.as_str())
        .collect()
}

fn numbers(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

fn last_segment(dir: &Path) -> std::path::PathBuf {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
        .collect();
    paths.sort();
    paths.pop().unwrap()
}

#[test]
fn reads_what_was_written() {
    let dir = TempDir::new().unwrap();
    let mut log = writer(dir.path());
    assert_eq!(log.append(&[]).unwrap(), 0);
    assert_eq!(
        log.append(&[line("one"), line("two \"é\"\u{0}")]).unwrap(),
        2
    );
    let runner = Line {
        source: Source::Runner,
        stream: "",
        container: Some("side"),
        ..line("three")
    };
    assert_eq!(log.append(&[runner]).unwrap(), 3);

    let records = LogReader::new(dir.path()).after(0, 10).unwrap();
    assert_eq!(messages(&records), ["one", "two \"é\"\u{0}", "three"]);
    assert_eq!(numbers(&records), [1, 2, 3]);
    assert_eq!(records[2].source, Source::Runner);
    assert_eq!(records[2].container.as_deref(), Some("side"));
    assert_eq!(records[0].at, Timestamp::from_millis(1_700_000_000_000));
}

#[test]
fn an_absent_log_is_empty() {
    let reader = LogReader::new("/nonexistent/log");
    assert_eq!(reader.after(0, 10).unwrap(), []);
    assert_eq!(reader.last(10).unwrap(), []);
    assert_eq!(reader.newest().unwrap(), 0);
}

#[test]
fn every_place_can_be_resumed_across_segments() {
    let dir = TempDir::new().unwrap();
    let mut log = writer(dir.path());
    for number in 1..=50 {
        log.append(&[line(&format!("line {number}"))]).unwrap();
    }
    assert!(fs::read_dir(dir.path()).unwrap().count() > 5);
    let reader = LogReader::new(dir.path());
    assert_eq!(reader.newest().unwrap(), 50);
    for seq in 0..=51 {
        let wanted: Vec<u64> = (seq + 1..=50).collect();
        assert_eq!(
            numbers(&reader.after(seq, 100).unwrap()),
            wanted,
            "after {seq}"
        );
        let wanted: Vec<u64> = (51 - seq.min(50)..=50).collect();
        assert_eq!(
            numbers(&reader.last(seq as usize).unwrap()),
            wanted,
            "last {seq}"
        );
    }
    assert_eq!(numbers(&reader.after(10, 3).unwrap()), [11, 12, 13]);
}

#[test]
fn a_cursor_follows_through_rotation() {
    let dir = TempDir::new().unwrap();
    let mut cursor = LogReader::new(dir.path()).cursor(0);
    assert_eq!(cursor.next(10).unwrap(), []);
    let mut log = writer(dir.path());
    for number in 1..=60 {
        log.append(&[line("x")]).unwrap();
        if number % 7 == 0 {
            assert_eq!(numbers(&cursor.next(100).unwrap()).last(), Some(&number));
            assert_eq!(cursor.next(100).unwrap(), []);
        }
    }
    assert_eq!(numbers(&cursor.next(100).unwrap()), [57, 58, 59, 60]);
    assert_eq!(cursor.seq(), 60);
}

#[test]
fn the_oldest_lines_are_dropped_and_the_numbers_go_on() {
    let dir = TempDir::new().unwrap();
    let limits = LogLimits {
        segment_bytes: 400,
        kept_bytes: 800,
    };
    let mut log = LogWriter::open(dir.path(), limits).unwrap();
    let mut slow = LogReader::new(dir.path()).cursor(0);
    for _ in 0..100 {
        log.append(&[line("0123456789")]).unwrap();
    }
    let records = LogReader::new(dir.path()).after(0, 1000).unwrap();
    let first = records[0].seq;
    assert!(first > 50, "first kept is {first}");
    assert_eq!(numbers(&records), (first..=100).collect::<Vec<_>>());
    assert_eq!(slow.next(1).unwrap()[0].seq, first);
    let kept: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(
        kept <= limits.kept_bytes + 2 * limits.segment_bytes,
        "{kept}"
    );
}

#[test]
fn two_writers_share_one_sequence() {
    let dir = TempDir::new().unwrap();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let mut log = writer(dir.path());
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..200 {
                    let message = format!("{name} {number}");
                    let seq = log.append(&[line(&message), line(&message)]).unwrap();
                    assert!(seq >= last + 2);
                    last = seq;
                }
            });
        }
    });
    let records = LogReader::new(dir.path()).after(0, 10_000).unwrap();
    assert_eq!(numbers(&records), (1..=1200).collect::<Vec<_>>());
    for pair in records.chunks(2) {
        assert_eq!(pair[0].message, pair[1].message, "a batch stays together");
    }
    for name in ["a", "b", "c"] {
        let own: Vec<_> = records
            .iter()
            .map(|record| record.message.as_str())
            .filter(|message| message.starts_with(name))
            .collect();
        let wanted: Vec<_> = (0..200)
            .flat_map(|number| [format!("{name} {number}"), format!("{name} {number}")])
            .collect();
        assert_eq!(own, wanted);
    }
}

#[test]
fn a_reader_never_sees_half_a_line() {
    let dir = TempDir::new().unwrap();
    writer(dir.path()).append(&[line("whole")]).unwrap();
    let path = last_segment(dir.path());
    let mut content = fs::read(&path).unwrap();
    content.extend_from_slice(br#"{"seq":2,"at":17"#);
    fs::write(&path, content).unwrap();
    let reader = LogReader::new(dir.path());
    let mut cursor = reader.cursor(0);
    assert_eq!(messages(&cursor.next(10).unwrap()), ["whole"]);
    assert_eq!(reader.newest().unwrap(), 1);
    writer(dir.path()).append(&[line("next")]).unwrap();
    assert_eq!(messages(&cursor.next(10).unwrap()), ["next"]);
}

#[test]
fn damage_inside_a_segment_is_named() {
    let dir = TempDir::new().unwrap();
    writer(dir.path()).append(&[line("a"), line("b")]).unwrap();
    let path = last_segment(dir.path());
    let mut content = fs::read(&path).unwrap();
    content[0] = b'x';
    fs::write(&path, content).unwrap();
    let error = LogReader::new(dir.path()).after(0, 10).unwrap_err();
    assert!(error.to_string().starts_with("read line 1 of"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A writer dies after any byte of its last write; whatever was acknowledged before stays, whatever comes later has
    /// the next numbers.
    #[test]
    fn a_crash_at_any_byte_loses_nothing_acknowledged(
        batches in prop::collection::vec(prop::collection::vec("[a-z\\\\\"\n€]{0,40}", 1..4), 1..12),
        cut in 0.0..1.0_f64,
        garbage in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let dir = TempDir::new().unwrap();
        let mut log = writer(dir.path());
        let (torn, kept) = batches.split_last().unwrap();
        let mut wanted: Vec<String> = Vec::new();
        for batch in kept {
            let lines: Vec<_> = batch.iter().map(|text| line(text)).collect();
            let last = log.append(&lines).unwrap();
            wanted.extend(batch.iter().cloned());
            prop_assert_eq!(last as usize, wanted.len());
        }
        let acknowledged = wanted.len();

        // Of the last batch, only what lies before a random byte got in.
        let before = (acknowledged > 0).then(|| {
            let path = last_segment(dir.path());
            let bytes = fs::metadata(&path).unwrap().len() as usize;
            (path, bytes)
        });
        let lines: Vec<_> = torn.iter().map(|text| line(text)).collect();
        log.append(&lines).unwrap();
        let path = last_segment(dir.path());
        let start = before.filter(|(begun, _)| *begun == path).map_or(0, |(_, bytes)| bytes);
        let mut content = fs::read(&path).unwrap();
        content.truncate(start + ((content.len() - start) as f64 * cut) as usize);
        let whole = content[start..].iter().filter(|byte| **byte == b'\n').count();
        wanted.extend(torn[..whole].iter().cloned());
        if content.len() == start {
            // Or bytes of a power cut: no record, perhaps with line ends in them.
            content.extend_from_slice(&garbage);
        }
        fs::write(&path, content).unwrap();

        let mut next = writer(dir.path());
        next.append(&[line("after the crash")]).unwrap();
        wanted.push("after the crash".into());
        let records = LogReader::new(dir.path()).after(0, 1000).unwrap();
        prop_assert_eq!(messages(&records), wanted.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(numbers(&records), (1..=wanted.len() as u64).collect::<Vec<_>>());
    }
}
