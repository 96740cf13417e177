use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use crate::commands::apps::lifetime;
use crate::context::{Context, JsonFlag};
use crate::output::fields;

#[derive(Args, Debug)]
#[command(
    after_help = "What an organization has beyond its budget stays; it gets no more.\n\nExamples:\n  orgs budget previews\n  \
                  orgs budget previews --apps 10 --machines 20 --ttl 7d\n  orgs budget previews --machines none"
)]
pub(crate) struct Budget {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true, default_value = "personal")]
    slug: String,
    /// The most apps it may have, or none: no limit
    #[arg(long, value_name = "COUNT")]
    apps: Option<Limit<u32>>,
    /// The most machines it may have, in all its apps, or none: no limit
    #[arg(long, value_name = "COUNT")]
    machines: Option<Limit<u32>>,
    /// How long apps live that are made without a time of their own, as 7d or 12h, or none: for good
    #[arg(long, value_name = "TIME")]
    ttl: Option<Limit<String>>,
    #[command(flatten)]
    json: JsonFlag,
}

/// A limit, or the word for having none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit<T>(Option<T>);

impl FromStr for Limit<u32> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Limit(None)),
            number => number
                .parse()
                .map(|number| Limit(Some(number)))
                .map_err(|_| "give a number, or none".to_owned()),
        }
    }
}

impl FromStr for Limit<String> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Limit(None)),
            time => lifetime(time).map(|time| Limit(Some(time))),
        }
    }
}

impl Budget {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut answer = api.budget(&self.slug).await?;
        let mut wished = answer["budget"].clone();
        let changes = [
            ("apps", self.apps.map(|limit| json!(limit.0))),
            ("machines", self.machines.map(|limit| json!(limit.0))),
            ("ttl", self.ttl.map(|limit| json!(limit.0))),
        ];
        if changes.iter().any(|(_, change)| change.is_some()) {
            for (name, change) in changes {
                if let Some(value) = change {
                    wished[name] = value;
                }
            }
            answer = api.set_budget(&self.slug, wished).await?;
        }
        if self.json.json {
            return Ok(context.out.json(&answer)?);
        }
        let count = |name: &str| {
            let used = answer["used"][name].as_i64().unwrap_or_default();
            match answer["budget"][name].as_i64() {
                Some(most) => format!("{used} of {most}"),
                None => format!("{used}, no limit"),
            }
        };
        let ttl = match &answer["budget"]["ttl"] {
            Value::String(ttl) => format!("{ttl} unless they say otherwise"),
            _ => "for good unless they say otherwise".to_owned(),
        };
        let (apps, machines) = (count("apps"), count("machines"));
        let pairs = [
            ("Apps", apps.as_str()),
            ("Machines", machines.as_str()),
            ("Apps live", ttl.as_str()),
        ];
        Ok(fields(&context.out, "Budget", &pairs)?)
    }
}
