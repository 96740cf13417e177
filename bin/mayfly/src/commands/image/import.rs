use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Progress;

use super::archive::Source;
use super::{amount, count, text};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  image import app.tar --name app:1\n  image import ./oci-layout --name app:1\n  \
                        podman save app:1 | image import -\n\nThe archive is an OCI layout or a docker archive, plain or \
                        compressed with gzip."
)]
pub(crate) struct Import {
    /// Archive file, directory with an OCI layout, or - for standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Name for the image; needed if the archive names none
    #[arg(short, long, value_name = "IMAGE")]
    name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Import {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let source = Source::open(&self.path)?;
        if matches!(source, Source::Stdin) && io::stdin().is_terminal() {
            return Err(Failure::new("standard input is a terminal, not an image")
                .remedy("Pipe an archive in, as in `podman save IMAGE | mayfly image import -`.")
                .into());
        }
        let progress = Progress::start(&context.out, "Importing image...");
        let images = api
            .import_image(self.name.as_deref(), source.stream())
            .await;
        drop(progress);
        let images = images?;
        if self.json.json {
            return Ok(context.out.json(&Value::from(images))?);
        }
        for image in &images {
            let size = amount(count(image, "size_bytes"));
            context
                .out
                .line(&format!("Imported {} ({size})", text(image, "image")))?;
        }
        Ok(())
    }
}
