//! How a command line of the user becomes a program and its arguments in a machine; the same rule as the SSH server's.

use crate::machine_config::words;

/// The best shell the image has.
pub(crate) const LOGIN_SHELL: [&str; 3] = [
    "/bin/sh",
    "-c",
    "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi",
];

/// What a shell would treat specially beside quotes; a line without any of it runs without a shell.
const SHELL_LETTERS: &str = "|&;<>()$`*?[]#~{}!\\\n";

/// By the image's shell if the line needs one, so that images without a shell still run plain commands.
pub(crate) fn command_line(line: &str) -> Vec<String> {
    let by_shell = || ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    if line.contains(|letter| SHELL_LETTERS.contains(letter)) {
        return by_shell();
    }
    words(line, "--command").unwrap_or_else(|_| by_shell())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_runs_what_needs_one() {
        for line in ["ls | wc -l", "echo $HOME", "a; b", "echo 'open"] {
            assert_eq!(command_line(line), ["/bin/sh", "-c", line], "{line}");
        }
        assert_eq!(command_line("sh -c \"exit 7\""), ["sh", "-c", "exit 7"]);
        assert_eq!(command_line(" top "), ["top"]);
    }
}
