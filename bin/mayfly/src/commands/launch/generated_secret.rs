//! Secrets an app cannot start without: made here, staged in the cloud, shown to nobody.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_launch::SecretSource;
use mayfly_types::Secret;

use super::plan::Plan;
use crate::client::Api;
use crate::context::Context;

/// Stages the secrets; returns the names of those the user has to set.
pub(super) async fn stage(
    context: &Context,
    api: &Api,
    directory: &Path,
    plan: &Plan,
) -> anyhow::Result<Vec<&'static str>> {
    if plan.project.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let app = plan.name.as_deref().unwrap_or_default();
    // What is there is in use: a new key would lock the app out of its own data.
    let known = api.app_secrets(app).await?.secrets;
    let mut made = BTreeMap::new();
    let mut missing = Vec::new();
    for wanted in &plan.project.secrets {
        if known.iter().any(|secret| secret.name == wanted.name) {
            continue;
        }
        match value(&wanted.source, directory) {
            Some(value) => {
                made.insert(wanted.name.to_owned(), Some(value.reveal().to_owned()));
            }
            None => missing.push(wanted.name),
        }
    }
    if !made.is_empty() {
        let names: Vec<String> = made.keys().cloned().collect();
        api.change_secrets(app, made).await?;
        context
            .out
            .line(&format!("Set the secret {}", names.join(", ")))?;
    }
    Ok(missing)
}

fn value(source: &SecretSource, directory: &Path) -> Option<Secret> {
    let random = |count: usize| {
        let mut bytes = vec![0; count];
        getrandom::fill(&mut bytes).expect("the kernel has random bytes");
        bytes
    };
    match source {
        SecretSource::Random(count) => {
            let text: String = random(*count)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            Some(Secret::new(text))
        }
        SecretSource::RandomBase64 { bytes, prefix } => Some(Secret::new(format!(
            "{prefix}{}",
            STANDARD.encode(random(*bytes))
        ))),
        SecretSource::File(path) => {
            let text = fs::read_to_string(directory.join(path)).ok()?;
            Some(Secret::new(text.trim())).filter(|secret| !secret.reveal().is_empty())
        }
    }
}
