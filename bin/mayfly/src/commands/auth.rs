mod docker;

use std::env;
use std::io::Read;

use clap::{Args, Subcommand};
use mayfly_types::Secret;
use serde_json::{Value, json};

use crate::client::Api;
use crate::context::{Context, JsonFlag, TOKEN_VARIABLES, not_authenticated};
use crate::failure::Failure;
use crate::program;

#[derive(Subcommand, Debug)]
pub(crate) enum AuthCommand {
    /// Sign in with a token
    Login(Login),
    /// Let docker, podman and others push to and pull from the cloud's registry
    Docker(docker::Docker),
    /// Forget the token signed in with
    Logout(Logout),
    /// Print the token in use
    Token(Token),
    /// Show who is signed in
    Whoami(Whoami),
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  auth login --token TOKEN\n  auth login < token.txt\n\nThe first `mayfly up` \
                        on a server signs its administrator in by itself."
)]
pub(crate) struct Login {
    /// The token to sign in with; it is asked for or read from standard input otherwise
    #[arg(long, value_name = "TOKEN", conflicts_with = "access_token")]
    token: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Make the token useless, too, wherever it was copied to
    #[arg(long)]
    revoke: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// Do not warn
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Whoami {
    #[command(flatten)]
    json: JsonFlag,
}

impl AuthCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            AuthCommand::Login(command) => command.run(context).await,
            AuthCommand::Docker(command) => command.run(context).await,
            AuthCommand::Logout(command) => command.run(context).await,
            AuthCommand::Token(command) => command.run(context),
            AuthCommand::Whoami(command) => command.run(context).await,
        }
    }
}

impl Login {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let given = self.token.as_deref().or(context.access_token());
        let token = match given {
            Some(token) => token.to_owned(),
            None if context.out.can_ask() => context.out.ask_secret("Token:", "--token")?,
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            }
        };
        let token = token.trim();
        if token.is_empty() {
            return Err(Failure::new("no token was given")
                .remedy("Give one with --token TOKEN, or on standard input.")
                .into());
        }
        // A token that is not accepted never replaces one that works.
        let api = Api::new(context.endpoints()?, Secret::new(token), false);
        let who = who(&api.current_token().await?);
        let mut file = context.config_file()?;
        file.set("access_token", token);
        file.set("last_login", &context.now().to_string());
        file.save()?;
        Ok(context
            .out
            .line(&format!("successfully logged in as {who}"))?)
    }
}

/// The e-mail of the token's user, or what the cloud calls the token.
fn who(token: &Value) -> String {
    ["/user/email", "/user/name", "/name", "/user/id"]
        .into_iter()
        .filter_map(|path| token.pointer(path)?.as_str())
        .find(|text| !text.is_empty())
        .unwrap_or("an unnamed token")
        .to_owned()
}

impl Whoami {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let who = who(&context.api()?.current_token().await?);
        if self.json.json {
            return Ok(context.out.json(&json!({ "email": who }))?);
        }
        Ok(context.out.line(&who)?)
    }
}

impl Token {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let token = context.token()?.ok_or_else(not_authenticated)?;
        if self.json.json {
            return Ok(context.out.json(&json!({ "token": token.reveal() }))?);
        }
        if !self.quiet {
            context
                .out
                .note("This token can do everything you can; keep it secret.");
        }
        Ok(context.out.line(token.reveal())?)
    }
}

impl Logout {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.revoke {
            let api = context.api()?;
            let token = api.current_token().await?;
            let id = token.pointer("/token/id").and_then(Value::as_str);
            api.revoke_token(id.unwrap_or_default()).await?;
        }
        forget(context)
    }
}

fn forget(context: &Context) -> anyhow::Result<()> {
    let mut file = context.config_file()?;
    if file.get("access_token").is_some() {
        file.remove("access_token");
        file.remove("last_login");
        file.save()?;
    }
    context.out.note(&format!(
        "Signed out. Sign in again with `{} auth login`.",
        program::name()
    ));
    for name in TOKEN_VARIABLES {
        if env::var_os(name).is_some() {
            context.out.note(&format!(
                "${name} is set in your environment; don't forget to remove it."
            ));
        }
    }
    Ok(())
}
