use std::path::Path;

use super::Launch;
use crate::context::{Context, LocalConfig};

/// The configuration file whose settings the new app takes over, if there is one and the user wants that.
///
/// # Errors
/// The file is wanted and has mistakes, or nobody can be asked.
pub(super) fn choose(
    context: &Context,
    flags: &Launch,
    directory: &Path,
) -> anyhow::Result<Option<LocalConfig>> {
    let Some(local) = LocalConfig::find(directory, flags.config.as_deref())? else {
        return Ok(None);
    };
    let question = format!("Take over the settings of {}?", local.file());
    let wanted = flags.copy_config
        || flags.config.is_some()
        || flags.yes
        || flags.now
        || context
            .out
            .confirm(&question)
            .map_err(|error| error.context("--copy-config takes them over"))?;
    if !wanted {
        return Ok(None);
    }
    local.valid()?;
    Ok(Some(local))
}
