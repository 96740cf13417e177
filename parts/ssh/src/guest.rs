use std::io;

use async_trait::async_trait;
use mayfly_host_api::{Connection, ExecRequest, ExecSession, HostError};

use crate::certificate::Certificate;
use crate::keys::PublicKey;

/// The machine behind a server.
#[async_trait]
pub trait Guest: Send + Sync + 'static {
    /// The name of the machine's app.
    fn app(&self) -> String;

    /// Whose certificates are believed: the authorities of the machine's organization.
    fn authorities(&self) -> Vec<PublicKey>;

    /// Runs a program inside the machine. Dropping the session ends the program.
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, HostError>;

    /// Opens a TCP connection as a program inside the machine would. `host` is an address or `localhost`.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Connection>;

    /// Notes that the holder of a certificate began something: `shell`, `exec`, `sftp` or `forward`.
    async fn session_began(&self, certificate: &Certificate, user: &str, what: &'static str);
}

/// The program that stands for the file server inside machines, which no image needs to have.
pub const SFTP_PROGRAM: &str = "internal-sftp";

/// What runs when nothing is named: the best shell the image has.
pub const LOGIN_SHELL: [&str; 3] = [
    "/bin/sh",
    "-c",
    "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi",
];

/// What a shell would treat specially beside quotes; a line without any of it runs without a shell.
const SHELL_LETTERS: &str = "|&;<>()$`*?[]#~{}!\\\n";

/// A command line as a program and its arguments: by the image's shell if it needs one, so that images without a shell
/// still run plain commands.
pub fn command_line(line: &str) -> Vec<String> {
    let words = match line.contains(|letter| SHELL_LETTERS.contains(letter)) {
        true => None,
        false => split(line),
    };
    words.unwrap_or_else(|| ["/bin/sh", "-c", line].map(str::to_owned).to_vec())
}

/// Words apart, quotes taken off; `None` if there is none or a quote stays open.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    (quote.is_none() && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_runs_what_needs_one() {
        let shell = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
        for line in [
            "ls | wc -l",
            "echo $HOME",
            "a; b",
            "echo 'open",
            "cat < x",
            "ls *.c",
            "",
        ] {
            assert_eq!(command_line(line), shell(line), "{line}");
        }
        for (line, words) in [
            ("ls -l", &["ls", "-l"][..]),
            ("  top ", &["top"]),
            ("sh -c \"exit 7\"", &["sh", "-c", "exit 7"]),
            ("echo 'a  b' \"\" c", &["echo", "a  b", "", "c"]),
        ] {
            assert_eq!(command_line(line), words, "{line}");
        }
    }
}
