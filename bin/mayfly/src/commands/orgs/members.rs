use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::client::{Api, Invitation};
use crate::context::{Context, JsonFlag};
use crate::output::Table;
use crate::program;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    Admin,
    Member,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Member => "member",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Invite {
    /// Slug of the organization
    slug: String,
    /// E-mail address of whom to invite
    email: String,
    /// What they may do: admins manage members and the organization itself
    #[arg(long, default_value = "member")]
    role: Role,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Invitations {
    /// Slug of the organization
    slug: String,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Accept {
    /// The code of the invitation
    code: String,
    /// Your name, if you have no token of this cloud yet
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SetRole {
    /// Slug of the organization
    slug: String,
    /// E-mail address of the member
    email: String,
    role: Role,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Slug of the organization
    slug: String,
    /// E-mail address of a member or of somebody invited
    email: String,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// Slug of the organization
    slug: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Invite {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let made = api
            .invite(&self.slug, &self.email, self.role.as_str())
            .await?;
        if self.json.json {
            return Ok(context.out.json(made.document())?);
        }
        let (email, code) = (made.email(), made.code());
        context.out.line(&format!(
            "Invited {email} to organization {} as {}, until {}.",
            self.slug,
            made.role(),
            made.expires_at()
        ))?;
        context
            .out
            .line("This cloud sends no mail: hand this on, it serves once.")?;
        let name = program::name();
        Ok(context.out.line(&format!(
            "  {name} orgs accept {code} --name \"Their Name\""
        ))?)
    }
}

impl Invitations {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let invitations = context.api()?.invitations(&self.slug).await?;
        if self.json.json {
            let documents = invitations.iter().map(|one| one.document().clone());
            return Ok(context.out.json(&Value::from_iter(documents))?);
        }
        print_invitations(context, "", &invitations)
    }
}

/// A table of them, with a title unless that is empty.
pub(super) fn print_invitations(
    context: &Context,
    title: &str,
    invitations: &[Invitation],
) -> anyhow::Result<()> {
    let mut table = Table::new(&["Email", "Role", "Expires At"]).title(title);
    for one in invitations {
        table.row([one.email(), one.role(), one.expires_at()]);
    }
    Ok(table.print(&context.out)?)
}

impl Accept {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let known = context.token()?.is_some() && self.name.is_none();
        let accepted = match known {
            true => context.api()?.accept_invitation(&self.code, None).await?,
            false => {
                let name = match self.name {
                    Some(name) => name,
                    None => context.out.ask("Your name:", "--name")?,
                };
                let api = Api::anonymous(context.endpoints()?);
                api.accept_invitation(&self.code, Some(&name)).await?
            }
        };
        let text = |path: &str| {
            accepted
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if let Some(token) = accepted.get("token").and_then(Value::as_str) {
            let mut file = context.config_file()?;
            file.set("access_token", token);
            file.set("last_login", &context.now().to_string());
            file.save()?;
            context
                .out
                .line(&format!("successfully logged in as {}", text("/email")))?;
        }
        Ok(context.out.line(&format!(
            "You are {} of organization {}",
            match text("/role") {
                "admin" => "an admin",
                _ => "a member",
            },
            text("/organization/slug")
        ))?)
    }
}

impl SetRole {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let role = self.role.as_str();
        context
            .api()?
            .set_role(&self.slug, &self.email, role)
            .await?;
        let line = format!("{} is {role} of organization {}", self.email, self.slug);
        Ok(context.out.line(&line)?)
    }
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let (slug, email) = (&self.slug, &self.email);
        let invited = api.invitations(slug).await?;
        let line = match invited.iter().any(|one| one.email() == email) {
            true => {
                api.remove_invitation(slug, email).await?;
                format!("The invitation of {email} to organization {slug} is taken back")
            }
            false => {
                api.remove_member(slug, email).await?;
                format!("{email} is no member of organization {slug} any more")
            }
        };
        Ok(context.out.line(&line)?)
    }
}

impl Delete {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        if !self.yes {
            let question = format!("Delete organization {}?", self.slug);
            context
                .out
                .note("Deleting an organization is not reversible: its tokens and members go too.");
            if !context.out.confirm(&question)? {
                return Ok(());
            }
        }
        api.delete_org(&self.slug).await?;
        Ok(context
            .out
            .line(&format!("Organization {} was deleted", self.slug))?)
    }
}
