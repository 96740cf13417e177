mod clone;
mod cordon;
mod create;
mod destroy;
mod exec;
mod kill;
mod leases;
mod list;
mod place;
mod restart;
mod schedule;
pub(crate) mod select;
mod start;
mod status;
mod stop;
mod suspend;
mod update;
mod wait;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;

pub(crate) use restart::restart;
pub(crate) use wait::wait_until_started;

#[derive(Subcommand, Debug)]
pub(crate) enum MachineCommand {
    /// Run a program: create a machine from an image and start it
    Run(create::Run),
    /// Create a machine without starting it
    Create(create::Create),
    /// List the machines of an app
    #[command(alias = "ls")]
    List(list::List),
    /// Show a machine with its history
    Status(status::Status),
    /// Start machines
    Start(start::Start),
    /// Stop machines
    Stop(stop::Stop),
    /// Restart machines
    Restart(restart::Restart),
    /// Suspend machines: they keep memory and files, and continue where they were
    Suspend(suspend::Suspend),
    /// Destroy machines
    #[command(visible_aliases = ["remove", "rm"])]
    Destroy(destroy::Destroy),
    /// Change a machine's image, size or configuration
    Update(update::Update),
    /// Create a machine like another one
    Clone(clone::Clone),
    /// Run a command inside a machine
    Exec(exec::Exec),
    /// Kill a machine's program at once
    Kill(kill::Kill),
    /// Take machines out of traffic; their programs run on
    Cordon(cordon::Cordon),
    /// Take machines back into traffic
    Uncordon(cordon::Uncordon),
    /// Wait for a machine to reach a state
    Wait(wait::Wait),
    /// Manage machine leases
    #[command(subcommand, alias = "lease")]
    Leases(leases::LeasesCommand),
    /// Ask where machines would be placed, without creating any
    Place(place::Place),
    /// Show when a scheduled machine runs next, and its last runs
    Schedule(schedule::Schedule),
}

impl MachineCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            MachineCommand::Run(command) => command.run(context).await?,
            MachineCommand::Create(command) => command.run(context).await?,
            MachineCommand::List(command) => command.run(context).await?,
            MachineCommand::Status(command) => command.run(context).await?,
            MachineCommand::Start(command) => command.run(context).await?,
            MachineCommand::Stop(command) => command.run(context).await?,
            MachineCommand::Restart(command) => command.run(context).await?,
            MachineCommand::Suspend(command) => command.run(context).await?,
            MachineCommand::Destroy(command) => command.run(context).await?,
            MachineCommand::Update(command) => command.run(context).await?,
            MachineCommand::Clone(command) => command.run(context).await?,
            MachineCommand::Exec(command) => return command.run(context).await,
            MachineCommand::Kill(command) => command.run(context).await?,
            MachineCommand::Cordon(command) => command.run(context).await?,
            MachineCommand::Uncordon(command) => command.run(context).await?,
            MachineCommand::Wait(command) => command.run(context).await?,
            MachineCommand::Leases(command) => command.run(context).await?,
            MachineCommand::Place(command) => command.run(context).await?,
            MachineCommand::Schedule(command) => command.run(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
