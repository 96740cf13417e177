//! `network-policies`: what machines of an app may begin, and who may begin something with them.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::NetworkPolicy;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum NetworkPoliciesCommand {
    /// List the network policies of an app
    #[command(alias = "ls")]
    List(List),
    /// Show a network policy as JSON
    Show(Show),
    /// Create a network policy, or replace one, from flags or from a JSON file
    #[command(alias = "apply")]
    Create(Box<Create>),
    /// Delete network policies
    #[command(aliases = ["rm", "destroy"])]
    Delete(Delete),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    app: AppFlags,
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  network-policies create --name web-only --direction egress --port tcp/443\n  \
                  network-policies create --name no-internet --action deny --direction egress --cidr 0.0.0.0/0 --cidr ::/0\n  \
                  network-policies create --file policy.json"
)]
pub(crate) struct Create {
    #[command(flatten)]
    app: AppFlags,
    /// JSON of the whole policy as the Machines API takes it; - reads standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "direction", "ports", "cidrs", "apps", "machines", "metadata"])]
    file: Option<PathBuf>,
    /// Replace the policy of this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Name of the policy
    #[arg(short, long, required_unless_present = "file")]
    name: Option<String>,
    /// What happens with what matches; without another rule, what is not allowed is refused
    #[arg(long, default_value = "allow", value_parser = ["allow", "deny"])]
    action: String,
    /// Who begins: egress is the machine, ingress the other side
    #[arg(short, long, required_unless_present = "file", value_parser = ["ingress", "egress"])]
    direction: Option<String>,
    /// Protocol and port: tcp/443, udp/1000-2000, tcp, icmp; all of them otherwise
    #[arg(short, long = "port", value_name = "PROTOCOL[/PORT]")]
    ports: Vec<String>,
    /// The other side by address: 10.0.0.0/8
    #[arg(long = "cidr", value_name = "RANGE")]
    cidrs: Vec<String>,
    /// The other side by app, within the same network
    #[arg(long = "peer-app", value_name = "NAME")]
    apps: Vec<String>,
    /// Only these machines; all of the app otherwise
    #[arg(long = "machine", value_name = "ID")]
    machines: Vec<String>,
    /// Only machines with this metadata
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    app: AppFlags,
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl NetworkPoliciesCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            NetworkPoliciesCommand::List(command) => command.run(context).await,
            NetworkPoliciesCommand::Show(command) => command.run(context).await,
            NetworkPoliciesCommand::Create(command) => command.run(context).await,
            NetworkPoliciesCommand::Delete(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let policies = context.api()?.network_policies(&app).await?;
        if self.json.json {
            let documents: Vec<Value> = policies.into_iter().map(|policy| policy.0).collect();
            return Ok(context.out.json(&Value::from(documents))?);
        }
        if policies.is_empty() {
            let text = format!(
                "App {app} has no network policies: its machines may begin what they like."
            );
            return Ok(context.out.line(&text)?);
        }
        print(context, &policies)
    }
}

impl Show {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let policy = context.api()?.network_policy(&app, &self.id).await?;
        Ok(context.out.json(&policy.0)?)
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let mut policy = match &self.file {
            Some(path) => read(path)?,
            None => self.policy()?,
        };
        if let Some(id) = self.id {
            policy["id"] = id.into();
        }
        let made = context.api()?.put_network_policy(&app, policy).await?;
        print(context, &[made])
    }

    fn policy(&self) -> anyhow::Result<Value> {
        let machines: Vec<Value> = self.machines.iter().map(|id| json!({ "id": id })).collect();
        let mut metadata = serde_json::Map::new();
        for pair in &self.metadata {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Failure::new(format!("--metadata {pair}: write it like role=web"))
            })?;
            metadata.insert(key.to_owned(), value.into());
        }
        let mut selector = json!({});
        if machines.is_empty() && metadata.is_empty() {
            selector["all"] = true.into();
        }
        if !machines.is_empty() {
            selector["machines"] = machines.into();
        }
        if !metadata.is_empty() {
            selector["metadata"] = metadata.into();
        }
        let ports = self.ports.iter().map(|text| port(text));
        let mut rule = json!({
            "action": self.action,
            "direction": self.direction,
            "ports": ports.collect::<anyhow::Result<Vec<Value>>>()?,
        });
        if !self.cidrs.is_empty() {
            rule["cidrs"] = json!(self.cidrs);
        }
        if !self.apps.is_empty() {
            rule["apps"] = json!(self.apps);
        }
        Ok(json!({ "name": self.name, "selector": selector, "rules": [rule] }))
    }
}

impl Delete {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        for id in &self.ids {
            api.delete_network_policy(&app, id).await?;
            context.out.line(&format!("Deleted network policy {id}"))?;
        }
        Ok(())
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Value> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    }
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// `tcp/443`, `udp/1000-2000`, `icmp`.
fn port(text: &str) -> anyhow::Result<Value> {
    let wrong = || {
        Failure::new(format!(
            "--port {text}: write it like tcp/443, udp/1000-2000 or icmp"
        ))
    };
    let (protocol, ports) = match text.split_once('/') {
        None => return Ok(json!({ "protocol": text })),
        Some(parts) => parts,
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let last: u16 = last.parse().map_err(|_| wrong())?;
    let mut port = json!({ "protocol": protocol, "port": first });
    if last != first {
        port["end_port"] = last.into();
    }
    Ok(port)
}

fn print(context: &Context, policies: &[NetworkPolicy]) -> anyhow::Result<()> {
    let mut table = Table::new(&["ID", "Name", "Machines", "Rules"]);
    for policy in policies {
        let rules = policy.rules().join("; ");
        table.row([policy.id(), policy.name(), &policy.selected(), &rules]);
    }
    Ok(table.print(&context.out)?)
}
