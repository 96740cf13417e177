use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Output;

/// Says on stderr what is being waited for: a spinner on a terminal, else one line per change.
pub(crate) struct Progress {
    out: Output,
    bar: Option<ProgressBar>,
    said: String,
}

impl Progress {
    pub(crate) fn start(out: &Output, message: &str) -> Self {
        let bar = out.terminal_err.then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let mut progress = Self {
            out: *out,
            bar,
            said: String::new(),
        };
        progress.say(message);
        progress
    }

    pub(crate) fn say(&mut self, message: &str) {
        if self.said == message {
            return;
        }
        self.said = message.to_owned();
        match &self.bar {
            Some(bar) => bar.set_message(message.to_owned()),
            None => self.out.note(message),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
