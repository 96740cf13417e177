use std::time::Duration;

use clap::Args;

use crate::client::{Api, CreateApp, Launch, Machine};
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{ConfigFlags, MachineConfig, RemoveFlag, set_command};
use crate::output::Progress;

use super::wait_until_started;

/// How long a new machine may take to run, its image included.
const START_PATIENCE: Duration = Duration::from_secs(300);

#[derive(Args, Debug)]
struct NewMachine {
    /// Image to run
    image: Option<String>,
    /// Arguments for the image's program; after `--` if they begin with a dash
    command: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Name of the machine (default: one is made up)
    #[arg(short, long)]
    name: Option<String>,
    /// Region to run in
    #[arg(short, long, env = "FLY_REGION", hide_env = true, value_name = "CODE")]
    region: Option<String>,
    /// Organization that owns the app, if the app has to be created
    #[arg(
        long,
        env = "FLY_ORG",
        hide_env = true,
        default_value = "personal",
        value_name = "SLUG"
    )]
    org: String,
    /// Create the app without asking if it does not exist
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    remove: RemoveFlag,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  machine run nginx --app hello --port 80:80/tcp:http\n  machine run alpine --app \
                        hello --rm -- sh -c 'echo done'\n  machine run job:1 --app hello --schedule hourly --vm-memory \
                        512\n\nFlags go before the command, or the command after `--`."
)]
pub(crate) struct Run {
    #[command(flatten)]
    machine: NewMachine,
    /// Return as soon as the machine runs, without waiting for its checks
    #[arg(long)]
    detach: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    machine: NewMachine,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let config = self.machine.configuration()?;
        let is_standby = config.contains_key("standbys");
        let Some(app) = self.machine.app(context, &api).await? else {
            return Ok(());
        };
        let created = self
            .machine
            .launch(context, &api, &app, config, is_standby)
            .await?;
        let out = &context.out;
        if !self.machine.json.json {
            out.line(&format!(
                "Success! A Machine has been successfully launched in app {app}"
            ))?;
            describe(context, &created)?;
        }
        if !is_standby {
            let mut progress = Progress::start(out, "Attempting to start machine...");
            let checks = !self.detach;
            wait_until_started(&api, &app, &created, START_PATIENCE, checks, &mut progress).await?;
        }
        if self.machine.json.json {
            let machine = api.machine(&app, created.id()).await?;
            return Ok(out.json(machine.document())?);
        }
        if is_standby {
            return Ok(());
        }
        out.line("Machine started, you can connect via the following private ip")?;
        Ok(out.line(&format!("  {}", created.private_ip()))?)
    }
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let config = self.machine.configuration()?;
        let Some(app) = self.machine.app(context, &api).await? else {
            return Ok(());
        };
        let created = self
            .machine
            .launch(context, &api, &app, config, true)
            .await?;
        if self.machine.json.json {
            return Ok(context.out.json(created.document())?);
        }
        let line = format!("Success! A Machine has been successfully created in app {app}");
        context.out.line(&line)?;
        describe(context, &created)
    }
}

fn describe(context: &Context, machine: &Machine) -> anyhow::Result<()> {
    let (id, instance, state) = (machine.id(), machine.instance_id(), machine.state());
    let text = format!(" Machine ID: {id}\n Instance ID: {instance}\n State: {state}\n");
    Ok(context.out.text(&text)?)
}

impl NewMachine {
    fn configuration(&self) -> anyhow::Result<MachineConfig> {
        let mut config = MachineConfig::new();
        if self.remove.rm {
            config.insert("auto_destroy".to_owned(), true.into());
        }
        self.config.apply(&mut config)?;
        let has_containers = config.contains_key("containers");
        match &self.image {
            Some(image) => {
                self.config.set_image(&mut config, image)?;
                if !self.command.is_empty() {
                    set_command(&mut config, Some(self.command.clone()));
                }
            }
            None if config.contains_key("image") || has_containers => {}
            None => {
                return Err(Failure::new("no image was named")
                    .remedy("Name it as in `machine run nginx`, or in --machine-config.")
                    .into());
            }
        }
        Ok(config)
    }

    /// The app to create the machine in; one that does not exist is created with consent.
    async fn app(&self, context: &Context, api: &Api) -> anyhow::Result<Option<String>> {
        let name = self.app.require()?;
        match api.app(&name).await {
            Ok(_) => return Ok(Some(name)),
            // Without somebody to ask, the missing app is the news, not the question.
            Err(error) if error.status() != Some(404) || !(self.yes || context.out.can_ask()) => {
                return Err(error.into());
            }
            Err(_) => {}
        }
        let question = format!("App '{name}' does not exist, would you like to create it?");
        if !self.yes && !context.out.confirm(&question)? {
            return Ok(None);
        }
        let request = CreateApp {
            name: Some(name),
            org: self.org.clone(),
            network: None,
            ttl: None,
        };
        let app = api.create_app(&request).await?;
        context
            .out
            .note(&format!("New app created: {}", app.name()));
        Ok(Some(app.name().to_owned()))
    }

    async fn launch(
        &self,
        context: &Context,
        api: &Api,
        app: &str,
        config: MachineConfig,
        skip_launch: bool,
    ) -> anyhow::Result<Machine> {
        let launch = Launch {
            name: self.name.clone(),
            region: self.region.clone(),
            config,
            skip_launch,
            current_version: None,
        };
        let progress = Progress::start(&context.out, "Creating machine...");
        let created = api.create_machine(app, &launch).await;
        drop(progress);
        Ok(created?)
    }
}
