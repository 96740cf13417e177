//! `certs`: names of an app beside its own, and their certificates.

mod setup;
mod show;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::Certificate;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Subcommand, Debug)]
pub(crate) enum CertsCommand {
    /// Add a hostname to an app and obtain a certificate for it
    #[command(alias = "create")]
    Add(Named),
    /// Check what DNS says about a hostname, and show its certificate
    Check(Named),
    /// Import a certificate of your own for a hostname
    Import(Import),
    /// List the hostnames and certificates of an app
    #[command(alias = "ls")]
    List(List),
    /// Remove a hostname, or one of its certificates, from an app
    #[command(visible_alias = "delete", alias = "rm")]
    Remove(Remove),
    /// Show the DNS records a hostname needs
    Setup(Named),
    /// Show the certificate of a hostname
    Show(Named),
}

#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Host name, such as www.example.com, or "*.example.com" in quotes
    hostname: String,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Host name the certificate is for
    hostname: String,
    /// Path to the certificate chain in PEM form, the server's certificate first
    #[arg(long, value_name = "PATH")]
    fullchain: PathBuf,
    /// Path to the private key in PEM form
    #[arg(long, value_name = "PATH")]
    private_key: PathBuf,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Host name
    hostname: String,
    /// Stop obtaining certificates; keep an imported one
    #[arg(long, conflicts_with = "custom")]
    acme: bool,
    /// Remove the imported certificate only
    #[arg(long)]
    custom: bool,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
    #[command(flatten)]
    app: AppFlags,
}

impl CertsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            CertsCommand::Add(command) => command.add(context).await,
            CertsCommand::Check(command) => command.check(context).await,
            CertsCommand::Import(command) => command.run(context).await,
            CertsCommand::List(command) => command.run(context).await,
            CertsCommand::Remove(command) => command.run(context).await,
            CertsCommand::Setup(command) => command.setup(context).await,
            CertsCommand::Show(command) => command.show(context).await,
        }
    }
}

impl Named {
    async fn add(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let added = context.api()?.add_certificate(&app, &self.hostname).await?;
        if self.json.json {
            return Ok(context.out.json(&added.document)?);
        }
        let hostname = &added.detail.hostname;
        context
            .out
            .line(&format!("Added {hostname} to app {app}\n"))?;
        setup::print(&context.out, &added.detail)
    }

    async fn check(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let checked = context
            .api()?
            .check_certificate(&app, &self.hostname)
            .await?;
        self.print(context, &checked)
    }

    async fn show(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let found = context.api()?.certificate(&app, &self.hostname).await?;
        self.print(context, &found)
    }

    fn print(&self, context: &Context, found: &Certificate) -> anyhow::Result<()> {
        if self.json.json {
            return Ok(context.out.json(&found.document)?);
        }
        show::print(&context.out, &found.detail, context.now())?;
        if found.detail.status == "active" && found.detail.configured {
            return Ok(());
        }
        setup::print(&context.out, &found.detail)
    }

    async fn setup(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let found = context.api()?.certificate(&app, &self.hostname).await?;
        if self.json.json {
            let records = found.document.get("dns_requirements").cloned();
            return Ok(context.out.json(&records.unwrap_or_default())?);
        }
        setup::print(&context.out, &found.detail)
    }
}

impl Import {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let read = |path: &PathBuf, flag: &str| {
            fs::read_to_string(path).with_context(|| format!("read {flag} {}", path.display()))
        };
        let chain = read(&self.fullchain, "--fullchain")?;
        let key = read(&self.private_key, "--private-key")?;
        let api = context.api()?;
        let imported = api
            .import_certificate(&app, &self.hostname, &chain, &key)
            .await?;
        if self.json.json {
            return Ok(context.out.json(&imported.document)?);
        }
        let hostname = &imported.detail.hostname;
        context.out.line(&format!(
            "Imported a certificate for {hostname} of app {app}\n"
        ))?;
        show::print(&context.out, &imported.detail, context.now())?;
        setup::print(&context.out, &imported.detail)
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let listed = context.api()?.certificates(&app).await?;
        let out = &context.out;
        if self.json.json {
            let documents: Vec<Value> = listed.into_iter().map(|(document, _)| document).collect();
            return Ok(out.json(&Value::from(documents))?);
        }
        if listed.is_empty() {
            return Ok(out.line("No hostnames found")?);
        }
        let now = context.now();
        let mut table = Table::new(&["Host Name", "Source", "Added", "Expires", "Status"])
            .optional(&["Added", "Source"]);
        for (_, summary) in &listed {
            let source = match (summary.has_custom_certificate, summary.has_fly_certificate) {
                (true, true) => "custom, fly",
                (true, false) => "custom",
                (false, true) => "fly",
                (false, false) => "",
            };
            let expires = summary.expires_at.map(|at| relative_time(at, now));
            table.row([
                &summary.hostname,
                source,
                &relative_time(summary.created_at, now),
                &expires.unwrap_or_default(),
                show::status_word(&summary.status, summary.configured),
            ]);
        }
        Ok(table.print(out)?)
    }
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let (what, part) = match (self.acme, self.custom) {
            (true, _) => ("the obtained certificate of", "/acme"),
            (_, true) => ("the imported certificate of", "/custom"),
            _ => ("certificate", ""),
        };
        let hostname = &self.hostname;
        if !self.yes
            && !context
                .out
                .confirm(&format!("Remove {what} {hostname} from app {app}?"))?
        {
            return Ok(());
        }
        context
            .api()?
            .remove_certificate(&app, hostname, part)
            .await?;
        let done = match part {
            "/acme" => format!("Certificates for {hostname} are no longer obtained for app {app}"),
            "/custom" => format!("Imported certificate of {hostname} deleted from app {app}"),
            _ => format!("Certificate {hostname} deleted from app {app}"),
        };
        Ok(context.out.line(&done)?)
    }
}
