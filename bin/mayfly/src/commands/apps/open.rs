use std::process::{Command, Stdio};

use clap::Args;

use crate::context::{AppFlags, Context};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Open {
    /// Path to open, such as /login
    #[arg(value_name = "RELATIVE_URI", default_value = "/")]
    path: String,
    #[command(flatten)]
    app: AppFlags,
}

impl Open {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let app = context.api()?.app(&app).await?;
        let base = app.url().ok_or_else(|| {
            Failure::new(format!("the cloud names no address for app {}", app.name()))
        })?;
        let url = format!(
            "{}/{}",
            base.trim_end_matches('/'),
            self.path.trim_start_matches('/')
        );
        open(context, &url)
    }
}

/// Opens an address in the browser, and prints it for those without one.
pub(crate) fn open(context: &Context, url: &str) -> anyhow::Result<()> {
    context.out.line(&format!("opening {url} ..."))?;
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !opened.is_ok_and(|status| status.success()) {
        context
            .out
            .note("No browser could be started here; open the address yourself.");
    }
    Ok(())
}
