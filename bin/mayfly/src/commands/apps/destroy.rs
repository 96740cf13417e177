use clap::Args;

use crate::context::Context;

#[derive(Args, Debug)]
pub(crate) struct Destroy {
    /// Names of the apps
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Destroy {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        for name in &self.names {
            if !self.yes {
                // That they cannot be counted is no reason not to ask.
                let volumes = api.volumes(name).await.unwrap_or_default();
                let volumes = volumes
                    .iter()
                    .filter(|one| one.destroy_at.is_none())
                    .count();
                let data = match volumes {
                    0 => String::new(),
                    1 => ", its volume with all data".to_owned(),
                    count => format!(", its {count} volumes with all data"),
                };
                context.out.note(&format!(
                    "Destroying an app is not reversible: its machines{data} and everything else it owns go too."
                ));
                if !context.out.confirm(&format!("Destroy app {name}?"))? {
                    return Ok(());
                }
            }
            api.destroy_app(name).await?;
            context.out.line(&format!("Destroyed app {name}"))?;
        }
        Ok(())
    }
}
