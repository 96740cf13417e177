//! Cuts a stream of bytes into lines.

use std::time::Duration;

use crate::clock::Moment;

/// Longer lines are cut into several.
const LINE_BYTES_MAX: usize = 64 << 10;
/// A line without an end, a prompt for instance, is written after this.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    due: Option<Moment>,
}

impl Lines {
    /// Adds bytes as they came and returns the lines that are whole now.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], now: Moment) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end], &mut lines);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes, &mut lines);
        self.due = match self.partial.is_empty() {
            true => None,
            false => Some(self.due.unwrap_or(now.after(PATIENCE))),
        };
        lines
    }

    fn extend(&mut self, mut bytes: &[u8], lines: &mut Vec<String>) {
        while self.partial.len() + bytes.len() > LINE_BYTES_MAX {
            let (now, later) = bytes.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(now);
            lines.push(self.take());
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn take(&mut self) -> String {
        self.due = None;
        let bytes = std::mem::take(&mut self.partial);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// When [`Lines::flush`] has something to do.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// The line that has waited for its end long enough.
    pub(crate) fn flush(&mut self, now: Moment) -> Option<String> {
        self.due.is_some_and(|due| due <= now).then(|| self.take())
    }

    /// What is left when nothing more comes.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let text = b"one\r\ntwo\n\nthree \xff\nrest";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found: Vec<String> = text
                .chunks(size)
                .flat_map(|chunk| lines.feed(chunk, Moment::now()))
                .collect();
            assert_eq!(found, ["one", "two", "", "three \u{fffd}"], "by {size}");
            assert_eq!(lines.finish().as_deref(), Some("rest"));
            assert_eq!(lines.finish(), None);
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let mut lines = Lines::default();
        let mut long = vec![b'x'; 2 * LINE_BYTES_MAX + 5];
        long.push(b'\n');
        let found: Vec<usize> = lines
            .feed(&long, Moment::now())
            .iter()
            .map(String::len)
            .collect();
        assert_eq!(found, [LINE_BYTES_MAX, LINE_BYTES_MAX, 5]);
    }

    #[test]
    fn a_prompt_is_written_after_a_moment() {
        let mut lines = Lines::default();
        let now = Moment::now();
        assert_eq!(lines.feed(b"name: ", now), [""; 0]);
        assert_eq!(lines.feed(b"again: ", now.after(PATIENCE / 2)), [""; 0]);
        assert_eq!(lines.due(), Some(now.after(PATIENCE)));
        assert_eq!(lines.flush(now), None);
        assert_eq!(
            lines.flush(now.after(PATIENCE)).as_deref(),
            Some("name: again: ")
        );
        assert_eq!(lines.due(), None);
        assert_eq!(lines.feed(b"x\n", now), ["x"]);
    }
}
