use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Api, ExecStream, Machine};
use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::program;

/// Chooses a machine, and who to be in it.
#[derive(Args, Clone, Debug)]
pub(crate) struct SshFlags {
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// The target organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, hide = true)]
    org: Option<String>,
    /// Machine to connect to, by id or name
    #[arg(long, value_name = "ID")]
    machine: Option<String>,
    /// Choose the machine from a list
    #[arg(short, long)]
    select: bool,
    /// Only machines in this region
    #[arg(short, long, value_name = "CODE")]
    region: Option<String>,
    /// Only machines of this process group
    #[arg(short = 'g', long, value_name = "GROUP")]
    process_group: Option<String>,
    /// Machine to connect to, by its private address
    #[arg(short = 'A', long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Container to connect to
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Connect to the machine itself rather than to one of its containers
    #[arg(long, conflicts_with = "container")]
    no_container: bool,
    /// User to be in the machine
    #[arg(short, long, value_name = "NAME", default_value = "root")]
    user: String,
    /// Say nothing on the way
    #[arg(short, long)]
    quiet: bool,
}

/// A machine that runs, of an app.
pub(crate) struct Chosen {
    pub(crate) app: String,
    pub(crate) machine: Machine,
}

impl SshFlags {
    /// The machine meant; of several, the first.
    pub(crate) async fn choose(&self, context: &Context, api: &Api) -> anyhow::Result<Chosen> {
        let app = self.app.require()?;
        let mut machines = api.machines(&app, false).await?;
        if let Some(wanted) = &self.machine {
            let found = machines.into_iter().find(|machine| {
                machine.id() == wanted.as_str() || machine.name() == wanted.as_str()
            });
            let machine = found.ok_or_else(|| {
                Failure::new(format!("app {app} has no machine {wanted}"))
                    .remedy(see_machines(&app))
            })?;
            if machine.state() != "started" {
                let (id, state) = (machine.id(), machine.state());
                return Err(
                    Failure::new(format!("machine {id} is {state}, not started"))
                        .remedy(format!(
                            "Start it with `{} machine start {id}`.",
                            program::name()
                        ))
                        .into(),
                );
            }
            return Ok(Chosen { app, machine });
        }
        let total = machines.len();
        machines.retain(|machine| machine.state() == "started" && self.matches(machine));
        if machines.is_empty() {
            let what = match total {
                0 => format!("app {app} has no machines"),
                _ => format!("app {app} has no started machine that matches"),
            };
            return Err(Failure::new(what).remedy(see_machines(&app)).into());
        }
        let at = if self.select {
            self.pick(context, &machines)?
        } else {
            0
        };
        let machine = machines.swap_remove(at);
        Ok(Chosen { app, machine })
    }

    fn matches(&self, machine: &Machine) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == text)
        };
        let address = self.address.as_deref().is_none_or(|wanted| {
            let bare = wanted.trim_start_matches('[').trim_end_matches(']');
            let by_address = bare.parse::<std::net::Ipv6Addr>().ok();
            let theirs = machine.private_ip().parse().ok();
            (by_address.is_some() && by_address == theirs)
                || bare.split('.').next() == Some(machine.id())
        });
        is(&self.region, machine.region())
            && is(&self.process_group, machine.process_group())
            && address
    }

    fn pick(&self, context: &Context, machines: &[Machine]) -> anyhow::Result<usize> {
        let choices: Vec<String> = machines
            .iter()
            .map(|machine| {
                let group = machine.process_group();
                let (id, name, region) = (machine.id(), machine.name(), machine.region());
                let group = if group.is_empty() { "app" } else { group };
                format!("{region}: {id} {} {name} ({group})", machine.private_ip())
            })
            .collect();
        if !context.out.can_ask() {
            for choice in &choices {
                context.out.line(choice)?;
            }
            return Err(Failure::new("there is no terminal to choose a machine on")
                .remedy("Name one of the list with --machine ID.")
                .into());
        }
        context.out.choose("Select VM:", &choices, "--machine ID")
    }

    /// Starts a program as the user; `more` is added to the request.
    pub(crate) async fn exec(
        &self,
        api: &Api,
        chosen: &Chosen,
        command: Vec<String>,
        more: Value,
    ) -> anyhow::Result<ExecStream> {
        let mut request = json!({
            "command": command,
            "user": self.user,
            "container": self.container,
        });
        if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
            request.extend(more);
        }
        let id = chosen.machine.id();
        let stream = api.exec_stream(&chosen.app, id, request).await;
        stream.with_context(|| format!("could not connect to machine {id}"))
    }

    pub(crate) fn tell(&self, context: &Context, line: &str) {
        if !self.quiet {
            context.out.note(line);
        }
    }
}

fn see_machines(app: &str) -> String {
    format!(
        "See its machines with `{} machine list --app {app}`.",
        program::name()
    )
}
