//! The app's configuration in the working directory, checked and with local files put in.

use std::fs;

use mayfly_appconfig::{AppConfig, InlineError};

use crate::context::{AppFlags, Context};
use crate::failure::Failure;

/// The configuration that `--config` names or that lies here; `None` where there is none.
///
/// # Errors
/// It cannot be read, or breaks rules.
pub(super) fn configuration(
    context: &Context,
    flags: &AppFlags,
) -> anyhow::Result<Option<AppConfig>> {
    let Some(local) = flags.local_config()? else {
        return Ok(None);
    };
    let mut config = local.valid()?.clone();
    for problem in &local.reading.problems {
        context.out.note(&problem.in_file(&local.file()));
    }
    config
        .inline(|file| fs::read(local.directory().join(file)))
        .map_err(|error| refusal(&local.file(), error))?;
    Ok(Some(config))
}

fn refusal(file: &str, error: InlineError<std::io::Error>) -> anyhow::Error {
    match error {
        InlineError::Read { key, error } => Failure::new(format!("{file}: {key}: {error}"))
            .remedy("The path is looked for beside the configuration."),
        InlineError::Compose(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::new(format!("{file}: its Compose file cannot be used"))
                .remedy(lines.join("\n"))
        }
    }
    .into()
}
