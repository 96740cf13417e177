//! Tells whoever reads the log why requests were not answered, without letting a busy app fill it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::problem::Problem;

/// One line per app and code in this time.
const QUIET: Duration = Duration::from_secs(5);
/// Apps and codes remembered; above it the oldest silence is broken.
const REMEMBERED_MAX: usize = 1024;

/// App and code.
type Subject = (String, &'static str);

#[derive(Debug, Default)]
pub(crate) struct Notices {
    last: Mutex<HashMap<Subject, (Instant, u64)>>,
}

impl Notices {
    /// Logs a problem of `app` as people search for it: the code in the sentence and as a field.
    pub(crate) fn tell(&self, app: &str, problem: &Problem, request_id: &str) {
        let Some(passed_over) = self.turn(app, problem.code, Instant::now()) else {
            return;
        };
        tracing::error!(
            app,
            code = problem.code,
            machine_id = problem.machine.map(tracing::field::display),
            request_id,
            status = problem.status,
            passed_over,
            "[{}] {}",
            problem.code,
            problem.message
        );
    }

    /// Whether it may be said now, and how often it was not since the last time.
    fn turn(&self, app: &str, code: &'static str, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().expect("no holder of this lock panics");
        if last.len() >= REMEMBERED_MAX {
            last.retain(|_, (said, _)| now.duration_since(*said) < QUIET);
        }
        match last.get_mut(&(app.to_owned(), code)) {
            Some((said, passed_over)) if now.duration_since(*said) < QUIET => {
                *passed_over += 1;
                None
            }
            Some((said, passed_over)) => {
                *said = now;
                Some(std::mem::take(passed_over))
            }
            None => {
                last.insert((app.to_owned(), code), (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_with_its_number() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert_eq!(notices.turn("web", "PC01", now), Some(0));
        for _ in 0..7 {
            assert_eq!(notices.turn("web", "PC01", now), None);
        }
        assert_eq!(notices.turn("web", "PR01", now), Some(0));
        assert_eq!(notices.turn("other", "PC01", now), Some(0));
        assert_eq!(notices.turn("web", "PC01", now + QUIET), Some(7));
    }
}
