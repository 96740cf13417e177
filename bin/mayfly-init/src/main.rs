//! The two processes every machine has: the monitor on the host's side and the init inside.
//!
//! `mayfly-init monitor <run directory>` is started by the host for each start of a machine; the contract is the crate
//! documentation of `mayfly-guest`. It becomes a process of its own that nothing waits for ([`monitor`]), makes the
//! machine's namespaces and forks the first process in them ([`init`]), which never executes anything of the host's
//! again. The two speak over a socket pair ([`channel`]): the monitor moves bytes and writes files, the init mounts,
//! starts, reaps and signals. So a slow reader of an exec session or a full disk holds up the monitor's business at
//! most, never the machine's processes.
//!
//! Both run one thread and one `poll`; there is no runtime, because their memory counts once per machine.
//!
//! # Building
//!
//! ```text
//! RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
//!     cargo build -p mayfly-init --profile guest --target x86_64-unknown-linux-gnu
//! ```
//!
//! makes one static file, `target/x86_64-unknown-linux-gnu/guest/mayfly-init`, that runs on any Linux from 5.12 on.

mod channel;
mod clock;
mod failure;
mod init;
mod monitor;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: mayfly-init monitor <run directory>\n       mayfly-init --version";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["monitor", run_dir] => monitor::start(Path::new(run_dir)),
        ["--version"] => {
            println!("mayfly-init {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
