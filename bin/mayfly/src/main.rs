//! The command line of Mayfly, callable as `mayfly`, `fly` and `flyctl`.

mod build_context;
mod cli;
mod client;
mod commands;
mod context;
mod failure;
mod generated_files;
mod machine_config;
mod output;
mod private_file;
mod program;
mod remote_command;
mod session;
mod sources;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(cli::run());
            // A read of the terminal may still be under way; nobody waits for it.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let Some(text) = failure::describe(&error) else {
                return ExitCode::SUCCESS;
            };
            // With stderr gone too, the exit code says it.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}
