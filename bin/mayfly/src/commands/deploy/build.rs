//! From sources to an image in the app's repository.

mod flags;
mod local_engine;
mod remote;
mod sources;

use mayfly_appconfig::AppConfig;

use crate::context::Context;
use crate::failure::Failure;
pub(super) use flags::BuildFlags;
use sources::Sources;

/// What a build made.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    /// By tag and digest; `None` if it was not pushed.
    pub(super) image: Option<String>,
    pub(super) size: String,
}

/// Builds the sources of an app, unless there is nothing to build: without a Dockerfile, `None`.
///
/// # Errors
/// The configuration asks for something other than a Dockerfile, or the build failed.
pub(super) async fn build(
    context: &Context,
    app: &str,
    flags: &BuildFlags,
    config: Option<&AppConfig>,
    directory: &std::path::Path,
) -> anyhow::Result<Option<Built>> {
    let section = config
        .and_then(|config| config.build.clone())
        .unwrap_or_default();
    flags.refuse_others(&section)?;
    if flags.dockerignore_from_gitignore
        && let Some(path) = sources::write_dockerignore(directory)?
    {
        let path = path.display();
        context
            .out
            .note(&format!("Wrote {path} from .gitignore files"));
    }
    let Some(sources) = Sources::find(flags, &section, directory)? else {
        return Ok(None);
    };
    for note in flags.notes() {
        context.out.note(&note);
    }
    let order = flags.order(&section, sources.dockerfile_text()?)?;
    context
        .out
        .note(&format!("==> Building {app} with {}", sources.shown()));
    let built = match flags.local_engine()? {
        Some(engine) => local_engine::build(context, app, &engine, &sources, &order)?,
        None => remote::build(context, app, &sources, &order).await?,
    };
    if !built.size.is_empty() {
        context.out.note(&format!("image size: {}", built.size));
    }
    Ok(Some(built))
}

/// Why there is nothing to deploy.
pub(super) fn nothing_to_build() -> anyhow::Error {
    Failure::new("there is no Dockerfile here, and no image is named")
        .remedy(
            "Write a Dockerfile (`launch` writes one for most frameworks), name another with --dockerfile PATH, or deploy \
             an image with --image IMAGE.",
        )
        .into()
}
