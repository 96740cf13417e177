use clap::Args;
use mayfly_types::TokenId;

use crate::context::Context;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// Ids of the tokens, as `tokens list` shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Revoke {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut revoked = 0;
        for id in &self.ids {
            match api.revoke_token(id).await {
                Ok(()) => {
                    context.out.line(&format!("Revoked {id}"))?;
                    revoked += 1;
                }
                Err(error) => {
                    // Whatever else was given may be a token's text.
                    let which = id.parse::<TokenId>().map(|id| format!(" {id}"));
                    let which = which.unwrap_or_default();
                    context
                        .out
                        .note(&format!("failed to revoke token{which}: {error}"));
                }
            }
        }
        context.out.line(&format!("{revoked} tokens revoked"))?;
        match revoked == self.ids.len() {
            true => Ok(()),
            false => Err(Failure::new("not every token was revoked").into()),
        }
    }
}
