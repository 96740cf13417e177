use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Launch, Machine};
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_config::{pairs, words};
use crate::output::Progress;
use crate::remote_command::{LOGIN_SHELL, command_line};
use crate::session::{self, Attach};

/// A console that nobody ends does so by itself: the machine sleeps no longer than this.
const SECONDS_MAX: u32 = 24 * 3600;

const STARTED_WITHIN: Duration = Duration::from_secs(120);

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  console --app web\n  console --app web -C 'bin/rails db:migrate'\n\nThe machine has the app's \
                  image, environment and secrets. It is destroyed when the session ends, also when this program is killed."
)]
pub(crate) struct Console {
    #[command(flatten)]
    app: crate::context::AppFlags,
    /// Region of the machine
    #[arg(short, long, value_name = "CODE")]
    region: Option<String>,
    /// Use this machine, which stays, instead of a new one
    #[arg(long, value_name = "ID")]
    machine: Option<String>,
    /// Image to use (default: that of the app's newest machine)
    #[arg(short, long)]
    image: Option<String>,
    /// Environment variable as NAME=VALUE. May be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User to be in the machine
    #[arg(short, long, value_name = "NAME", default_value = "root")]
    user: String,
    /// Container to connect to
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Command to run instead of a shell
    #[arg(short = 'C', long, value_name = "COMMAND")]
    command: Option<String>,
    /// Program the image runs in place of its own entrypoint, for the session only
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
}

impl Console {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let api = context.api()?;
        let app = self.app.require()?;
        let mut env = pairs(&self.env, "--env")?;
        let mut argv = match self.command.as_deref().filter(|line| !line.is_empty()) {
            Some(line) => command_line(line),
            None => LOGIN_SHELL.map(str::to_owned).to_vec(),
        };
        if let Some(entrypoint) = &self.entrypoint {
            argv.splice(0..0, words(entrypoint, "--entrypoint")?);
        }
        let attach = match context.out.is_interactive() {
            true => Attach::Terminal,
            false => Attach::Input,
        };
        let tty = (attach == Attach::Terminal).then(|| {
            let (rows, columns) = session::size();
            json!({ "rows": rows, "columns": columns })
        });
        if tty.is_some() {
            let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
            env.insert("TERM".to_owned(), term);
        }
        let (id, destroy) = match &self.machine {
            Some(id) => (id.clone(), false),
            None => {
                let machines = api.machines(&app, false).await?;
                let launch = self.launch(&app, &machines)?;
                let machine = api.create_machine(&app, &launch).await?;
                let id = machine.id().to_owned();
                let progress = Progress::start(&context.out, &format!("Created machine {id}"));
                let started = api.wait_for(&app, &id, &["started"], STARTED_WITHIN).await;
                drop(progress);
                if let Err(error) = started {
                    // What cannot be entered is of no use; the error says why it could not.
                    let _ = api.destroy_machine(&app, &id, true).await;
                    return Err(error).context("the console's machine did not start");
                }
                (id, true)
            }
        };
        let request = json!({
            "command": argv,
            "env": env,
            "user": self.user,
            "container": self.container,
            "tty": tty,
            "session": if self.command.is_some() { "exec" } else { "shell" },
            "destroy": destroy,
        });
        let stream = api.exec_stream(&app, &id, request).await;
        let stream = stream.with_context(|| format!("could not connect to machine {id}"))?;
        session::run(stream, attach).await
    }

    /// A machine like the app's newest, that runs nothing of its own and serves nobody.
    fn launch(&self, app: &str, machines: &[Machine]) -> anyhow::Result<Launch> {
        let model = machines
            .iter()
            .max_by(|one, other| one.created_at().cmp(other.created_at()));
        let mut config = model.map(Machine::config_copy).unwrap_or_default();
        for key in [
            "services",
            "checks",
            "mounts",
            "standbys",
            "schedule",
            "processes",
            "statics",
            "metrics",
        ] {
            config.remove(key);
        }
        if let Some(image) = &self.image {
            config.insert("image".to_owned(), Value::from(image.as_str()));
        }
        if !config.contains_key("image") {
            return Err(
                Failure::new(format!("app {app} has no machine to take the image of"))
                    .remedy("Name one with --image.")
                    .into(),
            );
        }
        let sleep = ["/bin/sleep".to_owned(), SECONDS_MAX.to_string()];
        config.insert("init".to_owned(), json!({ "exec": sleep }));
        config.insert("restart".to_owned(), json!({ "policy": "no" }));
        config.insert("auto_destroy".to_owned(), Value::from(true));
        config.insert("dns".to_owned(), json!({ "skip_registration": true }));
        let metadata = config.entry("metadata").or_insert_with(|| json!({}));
        metadata["fly_process_group"] = Value::from("fly_app_console");
        let region = self
            .region
            .clone()
            .or_else(|| Some(model?.region().to_owned()));
        Ok(Launch {
            config,
            region,
            ..Launch::default()
        })
    }
}
