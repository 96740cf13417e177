mod budget;
mod members;
mod replays;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::client::{Api, Invitation, Org};
use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields};

#[derive(Subcommand, Debug)]
pub(crate) enum OrgsCommand {
    /// List the organizations you belong to
    #[command(alias = "ls")]
    List(List),
    /// Show an organization, its members and who is invited
    Show(Show),
    /// Create an organization
    Create(Create),
    /// Delete an organization without apps
    Delete(members::Delete),
    /// Invite somebody to an organization
    Invite(members::Invite),
    /// List invitations that nobody accepted yet
    Invitations(members::Invitations),
    /// Accept an invitation; who has no token of this cloud yet gets one
    Accept(members::Accept),
    /// Remove a member or an invitation
    Remove(members::Remove),
    /// Make a member an admin, or an admin a member
    Role(members::SetRole),
    /// Show or set how much an organization may have: apps, machines, and for how long
    Budget(budget::Budget),
    /// Decide which organizations may replay requests to this one's apps
    #[command(subcommand)]
    ReplaySources(replays::ReplaySourcesCommand),
    /// Decide whether an organization's networks may replay requests to each other
    #[command(subcommand)]
    CrossNetworkReplays(replays::CrossNetworkReplaysCommand),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Slug of the organization
    #[arg(env = "FLY_ORG", hide_env = true, default_value = "personal")]
    slug: String,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name of the organization; its slug is made from it
    name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl OrgsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            OrgsCommand::List(command) => command.run(context).await,
            OrgsCommand::Show(command) => command.run(context).await,
            OrgsCommand::Create(command) => command.run(context).await,
            OrgsCommand::Delete(command) => command.run(context).await,
            OrgsCommand::Invite(command) => command.run(context).await,
            OrgsCommand::Invitations(command) => command.run(context).await,
            OrgsCommand::Accept(command) => command.run(context).await,
            OrgsCommand::Remove(command) => command.run(context).await,
            OrgsCommand::Role(command) => command.run(context).await,
            OrgsCommand::Budget(command) => command.run(context).await,
            OrgsCommand::ReplaySources(command) => command.run(context).await,
            OrgsCommand::CrossNetworkReplays(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let orgs = context.api()?.orgs().await?;
        if self.json.json {
            let by_slug: Map<String, Value> = orgs
                .iter()
                .map(|org| (org.slug().to_owned(), Value::from(org.name())))
                .collect();
            return Ok(context.out.json(&Value::from(by_slug))?);
        }
        let mut table = Table::new(&["Name", "Slug", "Type"]).optional(&["Type"]);
        for org in &orgs {
            table.row([org.name(), org.slug(), org.kind()]);
        }
        Ok(table.print(&context.out)?)
    }
}

impl Show {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = api.org(&self.slug).await?;
        let invitations = invitations(&api, &org).await?;
        if self.json.json {
            let mut document = org.document().clone();
            let listed = invitations.iter().map(|one| one.document().clone());
            document["invitations"] = Value::from_iter(listed);
            return Ok(context.out.json(&document)?);
        }
        show(context, &org)?;
        match invitations.is_empty() {
            true => Ok(()),
            false => members::print_invitations(context, "Pending Invitations", &invitations),
        }
    }
}

/// Who may become a member, for those who may know.
async fn invitations(api: &Api, org: &Org) -> anyhow::Result<Vec<Invitation>> {
    if org.role() != "admin" || org.kind() == "PERSONAL" {
        return Ok(Vec::new());
    }
    match api.invitations(org.slug()).await {
        Err(error) if error.status() == Some(403) => Ok(Vec::new()),
        invitations => Ok(invitations?),
    }
}

fn show(context: &Context, org: &Org) -> anyhow::Result<()> {
    let mut pairs = vec![
        ("Name", org.name()),
        ("Slug", org.slug()),
        ("Type", org.kind()),
    ];
    if !org.role().is_empty() {
        pairs.push(("Your role", org.role()));
    }
    fields(&context.out, "Organization", &pairs)?;
    let members = org.members();
    if members.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["Name", "Email", "Role"]).title("Organization Members");
    for member in members {
        table.row(member);
    }
    Ok(table.print(&context.out)?)
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = match self.name {
            Some(name) => name,
            None => context.out.ask("Name of the organization:", "NAME")?,
        };
        let org = context.api()?.create_org(&name).await?;
        if self.json.json {
            return Ok(context.out.json(org.document())?);
        }
        let line = format!(
            "Your organization {} ({}) was created successfully",
            org.name(),
            org.slug()
        );
        Ok(context.out.line(&line)?)
    }
}
