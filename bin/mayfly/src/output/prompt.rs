//! Questions to the user. None is asked without a terminal: the command fails at once and names the flag to use.

use std::io::{self, BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::{Failure, describe};

use super::Output;

impl Output {
    /// Asks for a yes; anything else is a no. Without a terminal the answer is `--yes` or nothing.
    pub(crate) fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        let answer = self.ask(&format!("{question} (y/N)"), "--yes")?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line of text; `instead` is the flag or argument that answers without asking.
    pub(crate) fn ask(&self, question: &str, instead: &str) -> anyhow::Result<String> {
        self.need_terminal(question, instead)?;
        write!(io::stderr(), "{question} ")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(Failure::new(format!("no answer to: {question}")).into());
        }
        Ok(answer.trim().to_owned())
    }

    /// Asks for a value in place of `current` until `read` takes the answer; `None` keeps `current`.
    pub(crate) fn ask_instead<T>(
        &self,
        what: &str,
        current: &str,
        instead: &str,
        read: impl Fn(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        loop {
            let answer = self.ask(&format!("{what} [{current}]:"), instead)?;
            if answer.is_empty() {
                return Ok(None);
            }
            match read(&answer) {
                Ok(value) => return Ok(Some(value)),
                Err(error) => self.note(&describe(&error).unwrap_or_default()),
            }
        }
    }

    /// Asks for one of `choices`; returns its place in the list.
    pub(crate) fn choose(
        &self,
        question: &str,
        choices: &[String],
        instead: &str,
    ) -> anyhow::Result<usize> {
        self.need_terminal(question, instead)?;
        for (number, choice) in (1..).zip(choices) {
            self.note(&format!("  {number}) {choice}"));
        }
        loop {
            let answer = self.ask(&format!("{question} (1-{})", choices.len()), instead)?;
            match answer.parse::<usize>() {
                Ok(number) if (1..=choices.len()).contains(&number) => return Ok(number - 1),
                _ => self.note("Type the number in front of your choice."),
            }
        }
    }

    /// Asks for a text that is not shown while it is typed.
    pub(crate) fn ask_secret(&self, question: &str, instead: &str) -> anyhow::Result<String> {
        self.need_terminal(question, instead)?;
        let shown = tcgetattr(io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        let answer = self.ask(question, instead);
        tcsetattr(io::stdin(), OptionalActions::Now, &shown)?;
        self.note("");
        answer
    }

    fn need_terminal(&self, question: &str, instead: &str) -> anyhow::Result<()> {
        if self.can_ask() {
            return Ok(());
        }
        let question = question
            .trim_end_matches(" (y/N)")
            .trim_end_matches(['?', ':']);
        Err(
            Failure::new(format!("cannot ask \"{question}\" without a terminal"))
                .remedy(format!("Answer it on the command line with {instead}."))
                .into(),
        )
    }
}
