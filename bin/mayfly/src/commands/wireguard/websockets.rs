use clap::{Args, ValueEnum};

use crate::context::Context;

/// The key is that of the official client, which keeps its settings in the same kind of file.
const KEY: &str = "wire_guard_websockets";

/// Only clients that build tunnels of their own read this, such as the official one with FLY_CONFIG_DIR set to the same
/// directory. This program reaches private networks through the API.
#[derive(Args, Debug)]
pub(crate) struct Websockets {
    #[arg(value_enum)]
    choice: Choice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    Enable,
    Disable,
}

impl Websockets {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut file = context.config_file()?;
        let value = match self.choice {
            Choice::Enable => "true",
            Choice::Disable => "false",
        };
        file.set(KEY, value);
        file.save()?;
        Ok(context.out.line(&format!("{KEY} is {value} now."))?)
    }
}
