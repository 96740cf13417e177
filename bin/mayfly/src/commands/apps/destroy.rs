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
                let warning = "Destroying an app is not reversible: its machines and everything else it owns go too.";
                context.out.note(warning);
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
