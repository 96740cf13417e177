use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::client::Api;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::describe;
use crate::program;

#[derive(Args, Debug)]
#[command(after_help = "Every line ends with PASSED or FAILED; with a failure the exit code is 1.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// What a check found.
struct Finding {
    name: String,
    outcome: Result<(), String>,
}

struct Findings<'a> {
    context: &'a Context,
    quiet: bool,
    all: Vec<Finding>,
}

impl Findings<'_> {
    /// True if the check passed.
    fn note(&mut self, name: &str, outcome: anyhow::Result<()>) -> anyhow::Result<bool> {
        let outcome =
            outcome.map_err(|error| describe(&error).unwrap_or_else(|| error.to_string()));
        let passed = outcome.is_ok();
        if !self.quiet {
            let word = if passed { "PASSED" } else { "FAILED" };
            self.context.out.line(&format!("{name}... {word}"))?;
            if let Err(text) = &outcome {
                let indented = text.replace('\n', "\n    ");
                self.context.out.line(&format!("    {indented}"))?;
            }
        }
        self.all.push(Finding {
            name: name.to_owned(),
            outcome,
        });
        Ok(passed)
    }
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut findings = Findings {
            context,
            quiet: self.json.json,
            all: Vec::new(),
        };
        self.look(context, &mut findings).await?;
        let failed = findings.all.iter().any(|one| one.outcome.is_err());
        if self.json.json {
            let listed: Vec<_> = findings
                .all
                .iter()
                .map(|one| {
                    let passed = one.outcome.is_ok();
                    json!({ "check": one.name, "passed": passed, "error": one.outcome.as_ref().err() })
                })
                .collect();
            context.out.json(&listed.into())?;
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// Each step stands on the one before: the first failure of the way to the cloud ends it.
    async fn look(&self, context: &Context, findings: &mut Findings<'_>) -> anyhow::Result<()> {
        let api = match context.api() {
            Ok(api) => api,
            Err(error) => {
                findings.note("Testing authentication token", Err(error))?;
                return Ok(());
            }
        };
        let token = api.current_token().await.map(drop);
        if !findings.note("Testing authentication token", token.map_err(Into::into))? {
            return Ok(());
        }
        let status = api.cloud_status().await.map(drop);
        findings.note("Testing the cloud's daemon", status.map_err(Into::into))?;
        let orgs = api.orgs().await;
        findings.note("Testing organizations", orgs.map(drop).map_err(Into::into))?;
        let Some(app) = self.app.find()? else {
            if !findings.quiet {
                let name = program::name();
                context.out.note(&format!(
                    "No app was named; `{name} doctor --app NAME` looks at one."
                ));
            }
            return Ok(());
        };
        look_at_app(&api, &app, findings).await
    }
}

async fn look_at_app(api: &Api, app: &str, findings: &mut Findings<'_>) -> anyhow::Result<()> {
    let found = api.app(app).await;
    let Ok(found) = found else {
        findings.note(
            &format!("Testing app {app}"),
            found.map(drop).map_err(Into::into),
        )?;
        return Ok(());
    };
    findings.note(&format!("Testing app {app}"), Ok(()))?;
    let network = crate::client::PrivateNetwork {
        org: found.org_slug().to_owned(),
        app: Some(app.to_owned()),
    };
    let machines = api.machines(app, false).await?;
    let started: Vec<_> = machines
        .iter()
        .filter(|machine| machine.state() == "started")
        .collect();
    let runs = match (machines.len(), started.len()) {
        (0, _) => Err(anyhow::anyhow!("the app has no machines")),
        (_, 0) => Err(anyhow::anyhow!("none of the app's machines is started")),
        _ => Ok(()),
    };
    if !findings.note("Testing its machines", runs)? {
        return Ok(());
    }
    let name = format!("{app}.internal");
    let replied = api.ping(&network, &name).await.map(drop);
    findings.note(
        &format!("Testing the private network ({name})"),
        replied.map_err(Into::into),
    )?;
    for machine in started {
        let services = machine
            .config()
            .get("services")
            .and_then(|list| list.as_array());
        let ports = services
            .into_iter()
            .flatten()
            .filter_map(|service| service.get("internal_port")?.as_u64());
        for port in ports {
            let to = format!("[{}]:{port}", machine.private_ip());
            // What listens on 0.0.0.0 only is reached over IPv4, by the edge beside it.
            let listens = listens(api, app, machine.id(), port).await;
            let outcome = match listens {
                Some(true) => Ok(()),
                Some(false) => Err(anyhow::anyhow!(
                    "nothing listens on port {port}: the program must listen on 0.0.0.0:{port} or [::]:{port}, not on \
                     localhost"
                )),
                None => api.connect(&network, &to).await.map(drop),
            };
            findings.note(
                &format!("Testing port {port} of machine {}", machine.id()),
                outcome,
            )?;
        }
    }
    Ok(())
}

/// Whether a program of the machine listens on the port for others than itself; `None` if the machine cannot be asked.
async fn listens(api: &Api, app: &str, machine: &str, port: u64) -> Option<bool> {
    let processes = api.processes(app, machine).await.ok()?;
    let sockets = processes
        .as_array()?
        .iter()
        .filter_map(|process| process.get("listen_sockets")?.as_array())
        .flatten()
        .filter_map(|socket| socket.get("address")?.as_str());
    let ending = format!(":{port}");
    let is_open = |address: &str| {
        address.ends_with(&ending) && !address.starts_with("127.") && !address.starts_with("[::1]")
    };
    Some(sockets.into_iter().any(is_open))
}
