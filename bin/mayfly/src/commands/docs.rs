use clap::Args;

use crate::commands::apps::open;
use crate::context::Context;

const UPSTREAM_DOCS: &str = "https://fly.io/docs/";

#[derive(Args, Debug)]
pub(crate) struct Docs {}

impl Docs {
    /// Opens the documentation the config file names, else upstream's: commands, API and machines are the same.
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let named = context.config_file()?.get("docs_url");
        open::open(context, named.as_deref().unwrap_or(UPSTREAM_DOCS))
    }
}
