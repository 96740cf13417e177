use std::io::Read;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::client::Api;
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Progress;

use super::{amount, count, text};

/// Between two looks at how far the pull is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// Name of the image, by tag or digest
    #[arg(value_name = "IMAGE")]
    image: String,
    /// User name at the registry
    #[arg(short, long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password for the registry from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Pull {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let password = self.password()?;
        let login = self.username.as_deref().zip(password.as_deref());
        let mut progress = Progress::start(&context.out, &format!("Pulling {}", self.image));
        let pull = api.pull_image(&self.image, login);
        tokio::pin!(pull);
        let pulled = loop {
            tokio::select! {
                pulled = &mut pull => break pulled?,
                () = tokio::time::sleep(PROGRESS_PAUSE), if context.out.can_ask() => {
                    if let Some(said) = how_far(&api).await {
                        progress.say(&said);
                    }
                }
            }
        };
        drop(progress);
        if self.json.json {
            return Ok(context.out.json(&pulled)?);
        }
        let size = amount(count(&pulled, "size_bytes"));
        Ok(context
            .out
            .line(&format!("Pulled {} ({size})", text(&pulled, "image")))?)
    }

    fn password(&self) -> anyhow::Result<Option<String>> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password)?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Failure::new("--password-stdin: standard input is empty").into());
        }
        Ok(Some(password.to_owned()))
    }
}

/// What the pulls under way have done; a look that fails is only a look missed.
async fn how_far(api: &Api) -> Option<String> {
    let pulls = api.pulls().await.ok()?;
    let pull: &Value = pulls.first()?;
    Some(format!(
        "Pulling {}: {} of {} layers, {} of {}",
        text(pull, "image"),
        count(pull, "layers_done"),
        count(pull, "layers"),
        amount(count(pull, "bytes_done")),
        amount(count(pull, "bytes")),
    ))
}
