//! Which machines a command means: ids or names on the command line, else the user's choice.

use clap::Args;

use crate::client::{Api, ApiError, Machine};
use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::program;

/// Chooses one machine.
#[derive(Args, Debug)]
pub(super) struct OneMachine {
    /// Id or name of the machine
    #[arg(value_name = "ID")]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) app: AppFlags,
}

/// Chooses several machines.
#[derive(Args, Debug)]
pub(super) struct SomeMachines {
    /// Ids or names of the machines
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    pub(super) app: AppFlags,
}

/// A machine and the app it belongs to.
pub(crate) struct Selected {
    pub(crate) app: String,
    pub(crate) machine: Machine,
}

impl OneMachine {
    pub(super) async fn select(&self, context: &Context, api: &Api) -> anyhow::Result<Selected> {
        one(context, api, &self.app, self.id.as_deref()).await
    }
}

impl SomeMachines {
    /// All of them exist, or none is touched.
    pub(super) async fn select(
        &self,
        context: &Context,
        api: &Api,
    ) -> anyhow::Result<Vec<Selected>> {
        if self.ids.is_empty() {
            return Ok(vec![one(context, api, &self.app, None).await?]);
        }
        let mut selected = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            selected.push(one(context, api, &self.app, Some(id)).await?);
        }
        Ok(selected)
    }
}

/// The machine called `id`, or the one the user picks from the app's.
pub(crate) async fn one(
    context: &Context,
    api: &Api,
    app: &AppFlags,
    id: Option<&str>,
) -> anyhow::Result<Selected> {
    match (app.find()?, id) {
        (Some(app), Some(id)) => {
            let found = find(api, &app, id).await?;
            let machine = found.ok_or_else(|| {
                Failure::new(format!("machine {id} could not be found in app {app}")).remedy(
                    format!(
                        "See its machines with `{} machine list --app {app}`.",
                        program::name()
                    ),
                )
            })?;
            Ok(Selected { app, machine })
        }
        (Some(app), None) => pick(context, api, app).await,
        (None, Some(id)) => find_anywhere(api, id).await,
        (None, None) => Err(app
            .require()
            .err()
            .unwrap_or_else(|| Failure::new("no machine was named").into())),
    }
}

/// By id, then by name; destroyed machines are found by id only.
async fn find(api: &Api, app: &str, id: &str) -> anyhow::Result<Option<Machine>> {
    if is_id(id) {
        match api.machine(app, id).await {
            Ok(machine) => return Ok(Some(machine)),
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let machines = api.machines(app, false).await?;
    Ok(machines
        .into_iter()
        .find(|machine| machine.name() == id || machine.id() == id))
}

/// Ids are hexadecimal; names usually are not, and the answer decides for those that are.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The machine in whichever app has it, for commands that name only its id.
async fn find_anywhere(api: &Api, id: &str) -> anyhow::Result<Selected> {
    for app in api.apps(None).await? {
        let found = if is_id(id) {
            match api.machine(app.name(), id).await {
                Ok(machine) => Some(machine),
                Err(ApiError::Refused { status: 404, .. } | ApiError::NoSuchApp { .. }) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            None
        };
        if let Some(machine) = found {
            return Ok(Selected {
                app: app.name().to_owned(),
                machine,
            });
        }
    }
    Err(Failure::new(format!(
        "machine {id} could not be found in any of your apps"
    ))
    .remedy("Name its app with --app NAME, if you call it by its name.")
    .into())
}

async fn pick(context: &Context, api: &Api, app: String) -> anyhow::Result<Selected> {
    if !context.out.can_ask() {
        return Err(Failure::new("no machine was named")
            .remedy(format!(
                "Give its ID on the command line; see the machines with `{} machine list --app {app}`.",
                program::name()
            ))
            .into());
    }
    let mut machines = api.machines(&app, false).await?;
    if machines.is_empty() {
        return Err(Failure::new(format!("the app {app} has no machines")).into());
    }
    let choices: Vec<String> = machines
        .iter()
        .map(|machine| {
            let (id, name) = (machine.id(), machine.name());
            format!(
                "{id} {name} ({}, region {})",
                machine.state(),
                machine.region()
            )
        })
        .collect();
    let at = context.out.choose("Which machine?", &choices, "ID")?;
    Ok(Selected {
        app,
        machine: machines.swap_remove(at),
    })
}
