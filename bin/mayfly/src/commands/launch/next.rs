//! What is left to do after a launch.

use std::path::Path;

use super::Launch;
use super::plan::Plan;
use crate::context::Context;
use crate::program;

/// Says what the app still needs and, unless that is done next, how it is deployed. `config` is where its configuration
/// lies, `image` what it runs if that is known.
pub(super) fn explain(
    context: &Context,
    flags: &Launch,
    plan: &Plan,
    missing_secrets: &[&str],
    config: &Path,
    image: Option<&str>,
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
    out.line(&format!("\n{app} is configured."))?;
    if !flags.no_deploy {
        return Ok(());
    }
    out.line("Nothing runs yet. To deploy it:")?;
    let image = image.map_or_else(String::new, |image| format!(" --image {image}"));
    // In its own directory the configuration is found without being named.
    let directory = config
        .parent()
        .and_then(|parent| parent.canonicalize().ok());
    let here =
        directory.is_none_or(|directory| std::env::current_dir().is_ok_and(|own| own == directory));
    let place = match here {
        true => String::new(),
        false => format!(" --config {}", config.display()),
    };
    let spare = if flags.ha { "" } else { " --ha=false" };
    out.line(&format!("  {program} deploy{image}{place}{spare}"))?;
    Ok(())
}
