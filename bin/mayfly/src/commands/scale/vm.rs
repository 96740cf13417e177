use std::process::ExitCode;

use clap::Args;
use mayfly_wire::ScaleVm;

use crate::commands::deploy::follow;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  scale vm shared-cpu-2x\n  scale vm performance-1x --memory 4096 -g worker"
)]
pub(crate) struct Vm {
    /// Size, such as shared-cpu-2x; see `platform vm-sizes`
    size: String,
    #[command(flatten)]
    app: AppFlags,
    /// Memory in MB, instead of the least the size has
    #[arg(long, value_name = "MB", alias = "memory")]
    vm_memory: Option<i64>,
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
}

impl Vm {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let wanted = ScaleVm {
            size: Some(self.size),
            memory_mb: self.vm_memory,
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
            memory_mb: Some(megabytes(&self.memory)?),
            process_group: self.whose.process_group.clone(),
        };
        self.whose
            .scale(context, &self.app.require()?, wanted)
            .await
    }
}

fn megabytes(text: &str) -> anyhow::Result<i64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let factor = match text[end..].trim() {
        "" | "m" | "mb" | "mib" => Some(1),
        "g" | "gb" | "gib" => Some(1024),
        _ => None,
    };
    let number: Option<i64> = text[..end].parse().ok();
    match number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
    {
        Some(megabytes) => Ok(megabytes),
        None => Err(Failure::new(format!("`{text}` is no size of memory"))
            .remedy("Write MB as a number, or a number with mb or gb.")
            .into()),
    }
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
        match self.detach {
            true => Ok(ExitCode::SUCCESS),
            false => {
                let seen = release.events_after.unwrap_or_default();
                follow(context, app, version, seen).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_and_without_a_unit() {
        for (text, megabytes_) in [("512", 512), ("512mb", 512), ("1GB", 1024), ("2 g", 2048)] {
            assert_eq!(megabytes(text).unwrap(), megabytes_, "{text}");
        }
        for text in ["", "gb", "1tb", "-1", "1.5gb"] {
            assert!(megabytes(text).is_err(), "{text}");
        }
    }
}
