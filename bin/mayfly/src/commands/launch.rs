//! `launch`: from sources or an image to an app with its configuration.

mod existing;
mod flags;
mod generated_secret;
mod next;
mod org;
mod origin;
mod plan;
mod project;
mod region;
mod review;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use mayfly_appconfig::{AppConfig, Format, edit, read};
use mayfly_launch::pipeline::{CiSystem, Previews};

use crate::client::{Api, App, CreateApp};
use crate::commands::config::print_problems;
use crate::commands::{ci, deploy};
use crate::context::{Context, LocalConfig};
use crate::failure::Failure;
use crate::generated_files::{Existing, GeneratedFiles};
use crate::sources;
use plan::Plan;

pub(crate) use flags::Launch;
pub(crate) use region::codes as region_codes;

impl Launch {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if self.now && self.no_deploy {
            return Err(Failure::new(
                "--now deploys at once, and --no-deploy does not at all: leave one of them out",
            )
            .remedy("To be asked nothing without deploying, use --yes --no-deploy.")
            .into());
        }
        let directory = origin::directory(context, &self)?;
        let api = context.api()?;
        let existing = existing::choose(context, &self, &directory)?;
        let project = project::find(&self, &directory, existing.as_ref())?;
        org::exists(&api, self.org.as_deref()).await?;
        let region = region::choose(&api, &self, existing.as_ref()).await?;
        let mut plan = Plan::new(&self, &directory, project, region, existing.as_ref())?;
        let asks = !self.yes && !self.now;
        if asks {
            review::need_somebody(context)?;
        }
        review::show(context, &plan)?;
        if asks {
            review::tweak(context, &api, &mut plan).await?;
        }
        let app = app(context, &api, &plan).await?;
        plan.name_app(&app);
        let format = self.format(existing.as_ref());
        let config_path = existing
            .as_ref()
            .filter(|local| local.format == format)
            .map_or_else(|| directory.join(format.file()), |local| local.path.clone());
        let text = text(&plan, format, existing.as_ref());
        let files = GeneratedFiles::new(context, self.existing());
        for file in &plan.project.files {
            files.write(&directory.join(&file.path), &file.content, file.executable)?;
        }
        self.workflows(context, &files, &directory, &plan)?;
        // The configuration was agreed to above; it is written last, so that its presence says that all is there.
        files.replace(&config_path, &text)?;
        let secrets = generated_secret::stage(context, &api, &directory, &plan).await?;
        lint(
            context,
            &config_path.display().to_string(),
            &text,
            format,
            &directory,
        )?;
        let of_config = || plan.config.build.as_ref()?.image.clone();
        let image = self.image.clone().or_else(of_config);
        next::explain(
            context,
            &self,
            &plan,
            &secrets,
            &config_path,
            image.as_deref(),
        )?;
        match self.no_deploy {
            true => Ok(ExitCode::SUCCESS),
            false => {
                let app = app.name().to_owned();
                deploy::deploy_launched(context, app, config_path, image, self.ha, self.addresses)
                    .await
            }
        }
    }

    /// What becomes of files that are there.
    fn existing(&self) -> Existing {
        match (self.now, self.yes) {
            (true, _) => Existing::Stays,
            (_, true) => Existing::IsReplaced,
            _ => Existing::IsAskedAbout,
        }
    }

    /// Workflows, for sources that are on GitHub.
    fn workflows(
        &self,
        context: &Context,
        files: &GeneratedFiles<'_>,
        directory: &Path,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        let on_github = fs::read_to_string(directory.join(".git/config"))
            .is_ok_and(|config| config.contains("github"));
        let deploys = on_github && !self.no_github_workflow;
        let app = plan.name.as_deref().unwrap_or("app");
        let previews = self.preview_workflow.then(|| Previews {
            app: app.to_owned(),
            org: plan.org.clone(),
        });
        if !deploys && previews.is_none() {
            return Ok(());
        }
        ci::write(
            context,
            files,
            CiSystem::GitHub,
            directory,
            deploys,
            previews,
            app,
        )
    }

    /// `--json` and `--yaml` say in which language; otherwise the one that is there.
    fn format(&self, existing: Option<&LocalConfig>) -> Format {
        match (self.json, self.yaml) {
            (true, _) => Format::Json,
            (_, true) => Format::Yaml,
            _ => existing.map_or(Format::Toml, |local| local.format),
        }
    }
}

/// The app of the plan: the one that is there if the configuration is its own, else a new one.
async fn app(context: &Context, api: &Api, plan: &Plan) -> anyhow::Result<App> {
    if let (Some(name), true) = (&plan.name, plan.may_exist) {
        match api.app(name).await {
            Ok(app) => {
                context.out.note(&format!(
                    "App {name} is there already; it is used as it is."
                ));
                return Ok(app);
            }
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let request = CreateApp {
        name: plan.name.clone(),
        org: plan.org.clone(),
        network: None,
        ttl: None,
    };
    let created = api.create_app(&request).await.map_err(|error| {
        if !matches!(error.status(), Some(409 | 422)) {
            return anyhow::Error::from(error);
        }
        Failure::new(error.to_string())
            .remedy("Choose another name with --name NAME, or let the cloud choose one with --generate-name.")
            .into()
    })?;
    // The answer to a creation says less than the app itself.
    let name = match created.name() {
        "" => plan.name.clone().unwrap_or_default(),
        name => name.to_owned(),
    };
    let app = api.app(&name).await?;
    context
        .out
        .line(&format!("Created app {name} in organization {}", plan.org))?;
    Ok(app)
}

/// The file: the existing one with the least changes, or a new one with a word on top.
fn text(plan: &Plan, format: Format, existing: Option<&LocalConfig>) -> String {
    let word = |config: &AppConfig| {
        format!(
            "# How {} is built, run and reached. Check it with `config validate`.\n",
            config.app.as_deref().unwrap_or("the app")
        )
    };
    if let Some(local) = existing.filter(|local| local.format == format && format == Format::Toml) {
        let edited = edit(&local.text, &plan.config);
        return match edited.strip_prefix(&word(&local.reading.config)) {
            Some(rest) => word(&plan.config) + rest,
            None => edited,
        };
    }
    let body = plan.config.to_text(format);
    match format {
        Format::Json => body,
        Format::Toml | Format::Yaml => format!("{}\n{body}", word(&plan.config)),
    }
}

/// Likely mistakes, also of files that were copied.
fn lint(
    context: &Context,
    file: &str,
    text: &str,
    format: Format,
    directory: &Path,
) -> anyhow::Result<()> {
    let reading = read(text, format);
    let facts = sources::facts(directory, &reading.config);
    let mut problems = reading.problems.clone();
    problems.extend(reading.lint(&facts));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Ok(print_problems(&context.out, file, &problems)?)
}

/// The settings a plan begins with: those of a file that is copied, or none.
fn beginning(existing: Option<&LocalConfig>) -> AppConfig {
    existing
        .map(|local| local.reading.config.clone())
        .unwrap_or_default()
}
