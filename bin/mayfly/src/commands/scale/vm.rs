use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use mayfly_wire::ScaleVm;

use crate::commands::deploy::follow_recorded;
use crate::context::{AppFlags, Context};
use crate::machine_config::memory_mib;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  scale vm shared-cpu-2x\n  scale vm performance-1x --memory 4096 -g worker"
)]
pub(crate) struct Vm {
    /// Size, such as shared-cpu-2x; see `platform vm-sizes`
    size: String,
    #[command(flatten)]
    app: AppFlags,
    /// Memory, in MB or such as 1gb, instead of the least the size has
    #[arg(long, value_name = "SIZE", alias = "memory")]
    vm_memory: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  scale memory 512\n  scale memory 2gb -g worker")]
pub(crate) struct Memory {
    /// Memory in MB, or with a unit such as 1gb
    memory: String,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Args, Debug)]
struct Whose {
    /// Only the machines of this process group
    #[arg(short = 'g', long, value_name = "NAME", alias = "group")]
    process_group: Option<String>,
    /// Return once the change is recorded
    #[arg(long)]
    detach: bool,
    /// There is nothing to ask; taken for scripts that answer in advance
    #[arg(short, long, alias = "auto-confirm", hide = true)]
    yes: bool,
}

impl Vm {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let memory = self.vm_memory.as_deref();
        let wanted = ScaleVm {
            size: Some(self.size),
            memory_mb: memory
                .map(|memory| megabytes("--vm-memory", memory))
                .transpose()?,
            process_group: self.whose.process_group.clone(),
        };
        self.whose
            .scale(context, &self.app.require()?, wanted)
            .await
    }
}

impl Memory {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let wanted = ScaleVm {
            size: None,
            memory_mb: Some(megabytes("MEMORY", &self.memory)?),
            process_group: self.whose.process_group.clone(),
        };
        self.whose
            .scale(context, &self.app.require()?, wanted)
            .await
    }
}

/// Megabytes: a plain number, or one with a unit.
fn megabytes(flag: &'static str, text: &str) -> anyhow::Result<i64> {
    let megabytes = memory_mib(text).context(flag)?;
    Ok(i64::try_from(megabytes)?)
}

impl Whose {
    async fn scale(
        &self,
        context: &Context,
        app: &str,
        wanted: ScaleVm,
    ) -> anyhow::Result<ExitCode> {
        let release = context.api()?.scale_vm(app, &wanted).await?;
        let version = release.version;
        context
            .out
            .line(&format!("{} is release v{version}", release.description))?;
        follow_recorded(context, app, &release, self.detach).await
    }
}
