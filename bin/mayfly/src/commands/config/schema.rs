use clap::Args;

use crate::context::Context;

#[derive(Args, Debug)]
#[command(
    after_help = "For editors with Taplo, as the first line of fly.toml:\n  #:schema ./fly.schema.json"
)]
pub(crate) struct Schema {}

impl Schema {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(&mayfly_appconfig::json_schema())?;
        text.push('\n');
        Ok(context.out.text(&text)?)
    }
}
