use clap::Args;
use serde_json::{Value, json};

use crate::context::{Context, JsonFlag};

#[derive(Args, Debug)]
pub(crate) struct Cordon {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Uncordon {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    json: JsonFlag,
}

/// Its identity is refused from then on, and its server destroys what machines it still has as soon as it hears of it.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    /// Also a host with machines: they are destroyed, or lost if the host does not answer
    #[arg(short, long)]
    force: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Cordon {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let host = context.api()?.cordon_host(&self.id).await?;
        say(context, self.json.json, &host, || {
            format!("Host {} gets no new machines", self.id)
        })
    }
}

impl Uncordon {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let host = context.api()?.end_host_drain(&self.id).await?;
        say(context, self.json.json, &host, || {
            format!("Host {} gets new machines again", self.id)
        })
    }
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        if !self.yes {
            let warning =
                "A removed host cannot come back with what it has: its machines are lost.";
            context.out.note(warning);
            if !context.out.confirm(&format!("Remove host {}?", self.id))? {
                return Ok(());
            }
        }
        api.remove_host(&self.id, self.force).await?;
        let answer = json!({ "id": self.id, "removed": true });
        say(context, self.json.json, &answer, || {
            format!("Removed host {}", self.id)
        })
    }
}

pub(super) fn say(
    context: &Context,
    as_json: bool,
    document: &Value,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if as_json {
        return Ok(context.out.json(document)?);
    }
    Ok(context.out.line(&text())?)
}
