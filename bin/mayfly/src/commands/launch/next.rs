//! What is left to do after a launch.

use super::Launch;
use super::plan::Plan;
use crate::context::Context;
use crate::program;

/// Says what the app still needs and how its first machine is started.
pub(super) fn explain(
    context: &Context,
    flags: &Launch,
    plan: &Plan,
    missing_secrets: &[&str],
) -> anyhow::Result<()> {
    let out = &context.out;
    let program = program::name();
    let app = plan.name.as_deref().unwrap_or_default();
    for note in &plan.project.notes {
        out.line(&format!("Note: {note}"))?;
    }
    if !missing_secrets.is_empty() {
        out.line(&format!(
            "Set before the first start: {}",
            missing_secrets.join(", ")
        ))?;
    }
    for backing in &plan.backing {
        out.line(&format!(
            "The app talks to {}: it will look for {}.",
            backing.as_str(),
            backing.secrets().join(", ")
        ))?;
    }
    let port = plan
        .config
        .http_service
        .as_ref()
        .and_then(|service| service.internal_port)
        .unwrap_or(8080);
    let region = plan.config.primary_region.as_deref().unwrap_or_default();
    let image = flags
        .image
        .as_deref()
        .or_else(|| plan.config.build.as_ref()?.image.as_deref());
    out.line(&format!("\n{app} is configured."))?;
    if !flags.no_deploy {
        out.line(
            "Nothing runs yet: this version starts machines one by one, not by a deployment.",
        )?;
    }
    out.line("The first machine:")?;
    if image.is_none() {
        out.line(&format!(
            "  docker build --tag {app}:1 . && docker save --output {app}.tar {app}:1"
        ))?;
        out.line(&format!(
            "  {program} image import {app}.tar --name {app}:1"
        ))?;
    }
    let own = format!("{app}:1");
    out.line(&format!(
        "  {program} machine run {} --app {app} --region {region} --port 80:{port}/tcp:http --port 443:{port}/tcp:http:tls",
        image.unwrap_or(&own)
    ))?;
    // A volume is on one machine; everything else should survive the loss of one.
    if flags.ha && plan.config.mounts.iter().flatten().next().is_none() {
        out.line("A second one, so that one can be lost:")?;
        out.line(&format!("  {program} machine clone ID --app {app}"))?;
    }
    Ok(())
}
