use clap::Args;

use super::{OneVolume, app_of};
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(crate) struct Destroy {
    /// Ids of the volumes
    #[arg(value_name = "VOLUME")]
    ids: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
}

const WARNING: &str = "Warning: the data of a destroyed volume is kept for 24 hours (`volumes restore`), then it is gone. This \
                       cloud makes no snapshots of it.";

impl Destroy {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut chosen: Vec<(String, String)> = Vec::new();
        if self.ids.is_empty() {
            let one = OneVolume {
                id: None,
                app: self.app.clone(),
            };
            chosen.push(one.find(context, &api).await?);
        }
        for id in &self.ids {
            let app = match self.app.find()? {
                Some(app) => app,
                None => app_of(&api, id).await?,
            };
            chosen.push((app, id.clone()));
        }
        for (app, id) in chosen {
            if !self.yes {
                context.out.note(WARNING);
                let question = format!("Destroy volume {id} of app {app}?");
                if !context.out.confirm(&question)? {
                    return Ok(());
                }
            }
            let volume = api.destroy_volume(&app, &id).await?;
            context.out.line(&format!(
                "Destroyed volume ID: {} name: {}",
                volume.id, volume.name
            ))?;
        }
        Ok(())
    }
}
