use clap::{Args, Subcommand};
use mayfly_access::{
    Action, AllowedCommand, Caveat, Feature, IfPresent, Macaroon, header_of, presented_tokens,
};
use serde_json::json;

use super::limits::Limits;
use crate::client::{Api, NewToken};
use crate::context::{AppFlags, Context, JsonFlag, chosen_org};
use crate::failure::Failure;

#[derive(Subcommand, Debug)]
pub(crate) enum CreateCommand {
    /// Make a token that manages one app and what belongs to it
    Deploy(Deploy),
    /// Make a token that runs commands in the machines of one app
    MachineExec(MachineExec),
    /// Make a token for programs that call the Machines API, for one app or one organization
    Machines(Machines),
    /// Make a token that manages one organization and its apps
    Org(Org),
    /// Make another token of your own that may do all that you may do
    #[command(alias = "user")]
    Personal(Personal),
    /// Make a token that only reads one organization
    Readonly(ReadOnly),
    /// Make a token that gets a shell in the machines of one app
    Ssh(Ssh),
    /// Make a token that manages WireGuard peers
    Wireguard(Wireguard),
}

#[derive(Args, Debug)]
struct Lifetime {
    /// How long it is good, such as 720h
    #[arg(
        short = 'x',
        long,
        value_name = "DURATION",
        default_value = "8760h",
        allow_hyphen_values = true
    )]
    expiry: String,
}

#[derive(Args, Debug)]
struct Wish {
    #[command(flatten)]
    lifetime: Lifetime,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tokens create deploy --app hello --expiry 720h\n  tokens create deploy -a hello -n ci\n  \
                  tokens create deploy -a hello --source 203.0.113.0/24 --image registry.fly.io/hello --region fra"
)]
pub(crate) struct Deploy {
    #[command(flatten)]
    app: AppFlags,
    /// Name to list it by
    #[arg(short, long, default_value = "deploy token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tokens create machine-exec -a hello ls -l /data\n  \
                  tokens create machine-exec -a hello --command-prefix 'rake db:'"
)]
pub(crate) struct MachineExec {
    #[command(flatten)]
    app: AppFlags,
    /// Name to list it by
    #[arg(short, long, default_value = "machine-exec token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
    /// A command that is allowed as it is
    #[arg(short = 'C', long, value_name = "LINE")]
    command: Vec<String>,
    /// What allowed commands begin with
    #[arg(short = 'p', long, value_name = "LINE")]
    command_prefix: Vec<String>,
    /// A command that is allowed as it is; with none of all, every command is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Machines {
    #[command(flatten)]
    app: AppFlags,
    /// Slug of the organization, without --app
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Name to list it by
    #[arg(short, long, default_value = "machines token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Args, Debug)]
pub(crate) struct Personal {
    /// Name to list it by
    #[arg(short, long, default_value = "personal token")]
    name: String,
    #[command(flatten)]
    lifetime: Lifetime,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Org {
    /// Slug of the organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Name to list it by
    #[arg(short, long, default_value = "org deploy token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Args, Debug)]
pub(crate) struct ReadOnly {
    /// Slug of the organization
    #[arg(value_name = "ORG")]
    slug: Option<String>,
    /// Slug of the organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Name to list it by
    #[arg(short, long, default_value = "read-only org token")]
    name: String,
    /// Narrow the token in use instead of making a new one
    #[arg(long)]
    from_existing: bool,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Args, Debug)]
pub(crate) struct Ssh {
    #[command(flatten)]
    app: AppFlags,
    /// Name to list it by
    #[arg(short, long, default_value = "ssh token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Args, Debug)]
pub(crate) struct Wireguard {
    /// Slug of the organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Name to list it by
    #[arg(short, long, default_value = "WireGuard token")]
    name: String,
    #[command(flatten)]
    wish: Wish,
}

impl CreateCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            CreateCommand::Deploy(command) => command.run(context).await,
            CreateCommand::MachineExec(command) => command.run(context).await,
            CreateCommand::Machines(command) => command.run(context).await,
            CreateCommand::Org(command) => command.run(context).await,
            CreateCommand::Personal(command) => command.run(context).await,
            CreateCommand::Readonly(command) => command.run(context).await,
            CreateCommand::Ssh(command) => command.run(context).await,
            CreateCommand::Wireguard(command) => command.run(context).await,
        }
    }
}

impl Deploy {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let made = of_app(context, &self.app, &self.name, &self.wish).await?;
        print(context, &self.wish, &[made])
    }
}

impl MachineExec {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let commands = self.commands()?;
        let mut made = of_app(context, &self.app, &self.name, &self.wish).await?;
        made.add(Caveat::IfPresent(IfPresent {
            ifs: vec![Caveat::Commands(commands)],
            otherwise: Action::READ,
        }))?;
        print(context, &self.wish, &[made])
    }

    fn commands(&self) -> anyhow::Result<Vec<AllowedCommand>> {
        let split = |flag: &str, line: &String| {
            shlex::split(line).ok_or_else(|| {
                Failure::new(format!(
                    "{flag}: a quotation mark is not closed in {line:?}"
                ))
            })
        };
        let mut commands = Vec::new();
        let mut allow = |args, exact| commands.push(AllowedCommand { args, exact });
        if !self.words.is_empty() {
            allow(self.words.clone(), true);
        }
        for line in &self.command {
            allow(split("--command", line)?, true);
        }
        for line in &self.command_prefix {
            allow(split("--command-prefix", line)?, false);
        }
        if commands.is_empty() {
            commands.push(AllowedCommand {
                args: Vec::new(),
                exact: false,
            });
        }
        Ok(commands)
    }
}

impl Machines {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (name, wish) = (&self.name, &self.wish);
        let made = match self.app.app {
            Some(_) => of_app(context, &self.app, name, wish).await?,
            None => of_org(context, self.org, name, wish, "deploy_organization").await?,
        };
        print(context, wish, &[made])
    }
}

impl Personal {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let made = api
            .create_personal_token(&self.name, &self.lifetime.expiry)
            .await?;
        match self.json.json {
            true => Ok(context.out.json(&json!({ "token": made.reveal() }))?),
            false => Ok(context.out.line(made.reveal())?),
        }
    }
}

impl Org {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let made = of_org(
            context,
            self.org,
            &self.name,
            &self.wish,
            "deploy_organization",
        )
        .await?;
        print(context, &self.wish, &[made])
    }
}

impl ReadOnly {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        if !self.from_existing {
            let org = self.slug.or(self.org);
            let made = of_org(context, org, &self.name, &self.wish, "readonly").await?;
            return print(context, &self.wish, &[made]);
        }
        let mut given = super::Given::read(context)?;
        for token in &mut given.permissions {
            token.add(Caveat::Action(Action::READ))?;
            token.add(window(context, &self.wish.lifetime.expiry)?)?;
        }
        let all: Vec<Macaroon> = given.all().cloned().collect();
        print(context, &self.wish, &all)
    }
}

impl Ssh {
    /// One token reads the app, the other gets a certificate and a connection.
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let made = of_app(context, &self.app, &self.name, &self.wish).await?;
        let (mut reads, mut enters) = (made.clone(), made);
        reads.add(Caveat::Action(Action::READ))?;
        let mutations = ["issueCertificate", "addWireGuardPeer"];
        enters.add(Caveat::Mutations(mutations.map(str::to_owned).to_vec()))?;
        print(context, &self.wish, &[reads, enters])
    }
}

impl Wireguard {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let profile = "deploy_organization";
        let mut made = of_org(context, self.org, &self.name, &self.wish, profile).await?;
        let feature = Feature::WireGuard.as_str().to_owned();
        made.add(Caveat::IfPresent(IfPresent {
            ifs: vec![
                Caveat::Apps([].into()),
                Caveat::FeatureSet([(feature, Action::ALL)].into()),
            ],
            otherwise: Action::READ,
        }))?;
        print(context, &self.wish, &[made])
    }
}

pub(super) fn window(context: &Context, expiry: &str) -> anyhow::Result<Caveat> {
    let lives: mayfly_wire::GoDuration = expiry
        .parse()
        .map_err(|error| Failure::new(format!("--expiry: {error}")))?;
    let now = context.now();
    Ok(Caveat::ValidityWindow {
        not_before: now.as_millis() / 1000,
        not_after: (now + lives.0).as_millis() / 1000,
    })
}

async fn of_app(
    context: &Context,
    app: &AppFlags,
    name: &str,
    wish: &Wish,
) -> anyhow::Result<Macaroon> {
    let (api, app) = (context.api()?, app.require()?);
    let found = api.app(&app).await?;
    let new = NewToken {
        profile: "deploy",
        app: Some(&app),
        name,
        expiry: &wish.lifetime.expiry,
    };
    make(&api, found.org_slug(), &new).await
}

async fn of_org(
    context: &Context,
    org: Option<String>,
    name: &str,
    wish: &Wish,
    profile: &str,
) -> anyhow::Result<Macaroon> {
    let api = context.api()?;
    let org = chosen_org(context, &api, org, "--org").await?;
    let new = NewToken {
        profile,
        app: None,
        name,
        expiry: &wish.lifetime.expiry,
    };
    make(&api, &org, &new).await
}

async fn make(api: &Api, org: &str, new: &NewToken<'_>) -> anyhow::Result<Macaroon> {
    let made = api.create_token(org, new).await?;
    let text = presented_tokens(made.reveal()).next().unwrap_or_default();
    Ok(text.parse()?)
}

fn print(context: &Context, wish: &Wish, tokens: &[Macaroon]) -> anyhow::Result<()> {
    let mut tokens = tokens.to_vec();
    wish.limits.narrow(&mut tokens)?;
    let text = header_of(&tokens);
    match wish.json.json {
        true => Ok(context.out.json(&json!({ "token": text }))?),
        false => Ok(context.out.line(&text)?),
    }
}
