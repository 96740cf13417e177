use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::context::Context;
use crate::program;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(mayfly completion bash)\n  mayfly completion zsh > ~/.zfunc/_mayfly\n  \
                        mayfly completion fish > ~/.config/fish/completions/mayfly.fish"
)]
pub(crate) struct Completion {
    /// Shell to complete in
    shell: Shell,
}

impl Completion {
    /// Prints completions for the name the program was called by, so `fly completion bash` completes `fly`.
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut cli::definition(),
            program::name(),
            &mut script,
        );
        Ok(context.out.text(&String::from_utf8_lossy(&script))?)
    }
}
