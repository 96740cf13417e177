use clap::Args;
use mayfly_wire::HostToken;

use crate::context::{Context, JsonFlag};

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// How long it is good, such as 10m; an hour unless told otherwise
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Token {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let token = context.api()?.host_token(self.ttl.as_deref()).await?;
        if self.json.json {
            return Ok(context.out.json(&token)?);
        }
        let token: HostToken = serde_json::from_value(token)?;
        context.out.note(&format!(
            "One server may join by it until {}. On that server run:",
            token.expires_at
        ));
        Ok(context.out.line(&format!(
            "mayfly up --join {} --join-token {}",
            token.address, token.token
        ))?)
    }
}
