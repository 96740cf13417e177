//! `scale`: how many machines an app has, and how large they are.

mod advise;
mod concurrency;
mod count;
mod show;
mod vm;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;

#[derive(Subcommand, Debug)]
pub(crate) enum ScaleCommand {
    /// Change how many machines an app has
    Count(count::Count),
    /// Change how much work at once the machines of an app take
    Concurrency(concurrency::Concurrency),
    /// Advise sizes by what the machines of an app used during the last week
    Advise(advise::Advise),
    /// Show how many machines an app has, and how large they are
    Show(show::Show),
    /// Change the size of an app's machines
    Vm(vm::Vm),
    /// Change the memory of an app's machines
    Memory(vm::Memory),
}

impl ScaleCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            ScaleCommand::Count(command) => command.run(context).await,
            ScaleCommand::Concurrency(command) => command.run(context).await,
            ScaleCommand::Show(command) => command.run(context).await.map(|()| ExitCode::SUCCESS),
            ScaleCommand::Advise(command) => command.run(context).await.map(|()| ExitCode::SUCCESS),
            ScaleCommand::Vm(command) => command.run(context).await,
            ScaleCommand::Memory(command) => command.run(context).await,
        }
    }
}
