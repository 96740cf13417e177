use clap::Args;
use mayfly_access::caveats_to_json;
use serde_json::{Value, json};

use super::Given;
use crate::context::Context;

#[derive(Args, Debug)]
pub(crate) struct Debug {}

impl Debug {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let given = Given::read(context)?;
        let shown: Vec<Value> = given
            .all()
            .map(|token| {
                json!({
                    "location": token.location,
                    "caveats": caveats_to_json(token.unverified_caveats()),
                })
            })
            .collect();
        Ok(context.out.json(&Value::from(shown))?)
    }
}
