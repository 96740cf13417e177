//! Caveats as people write them: `[{"type": "Action", "body": "r"}]`, in upstream's words.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::action::Action;
use crate::caveat::{AllowedCommand, Caveat, IfPresent};
use crate::kind;
use crate::resources::Resources;
use crate::role::Roles;

/// What is wrong with a caveat that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct InvalidCaveat {
    /// Where, such as `[0].body.apps`.
    pub at: String,
    pub problem: String,
}

/// A value and where it stands.
struct At<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> At<'a> {
    fn wrong(&self, problem: impl Into<String>) -> InvalidCaveat {
        InvalidCaveat {
            at: match self.path.as_str() {
                "" => "caveats".to_owned(),
                path => path.to_owned(),
            },
            problem: problem.into(),
        }
    }

    fn field(&self, name: &str) -> Result<At<'a>, InvalidCaveat> {
        let object = self.object()?;
        let value = object
            .get(name)
            .ok_or_else(|| self.wrong(format!("has no \"{name}\"")))?;
        Ok(At {
            value,
            path: format!("{}.{name}", self.path),
        })
    }

    fn object(&self) -> Result<&'a Map<String, Value>, InvalidCaveat> {
        self.value
            .as_object()
            .ok_or_else(|| self.wrong("must be an object"))
    }

    fn items(&self) -> Result<Vec<At<'a>>, InvalidCaveat> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| self.wrong("must be a list"))?;
        let at = |(number, value)| At {
            value,
            path: format!("{}[{number}]", self.path),
        };
        Ok(list.iter().enumerate().map(at).collect())
    }

    fn text(&self) -> Result<String, InvalidCaveat> {
        let text = self.value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong("must be a text"))
    }

    fn texts(&self) -> Result<Vec<String>, InvalidCaveat> {
        self.items()?.iter().map(At::text).collect()
    }

    fn parsed<T: FromStr<Err: Display>>(&self) -> Result<Vec<T>, InvalidCaveat> {
        let one = |at: &At<'a>| {
            let parsed = at.text()?.parse();
            parsed.map_err(|error: T::Err| at.wrong(error.to_string()))
        };
        self.items()?.iter().map(one).collect()
    }

    fn number(&self) -> Result<u64, InvalidCaveat> {
        self.value
            .as_u64()
            .ok_or_else(|| self.wrong("must be a number of 0 or more"))
    }

    fn seconds(&self) -> Result<i64, InvalidCaveat> {
        self.value
            .as_i64()
            .ok_or_else(|| self.wrong("must be seconds since 1970"))
    }

    fn action(&self) -> Result<Action, InvalidCaveat> {
        Ok(Action::from_letters(&self.text()?))
    }

    fn resources<Key: Ord>(
        &self,
        field: &str,
        key: impl Fn(&At<'a>, &str) -> Result<Key, InvalidCaveat>,
    ) -> Result<Resources<Key>, InvalidCaveat> {
        let all = self.field(field)?;
        all.object()?
            .iter()
            .map(|(name, value)| {
                let one = At {
                    value,
                    path: format!("{}.{name}", all.path),
                };
                // Upstream's libraries write all of a kind as `*`.
                let name = if name == "*" { "" } else { name };
                Ok((key(&one, name)?, one.action()?))
            })
            .collect()
    }
}

/// # Errors
/// What is wrong, and where.
pub fn caveats_from_json(value: &Value) -> Result<Vec<Caveat>, InvalidCaveat> {
    read_all(&At {
        value,
        path: String::new(),
    })
}

fn read_all(at: &At<'_>) -> Result<Vec<Caveat>, InvalidCaveat> {
    at.items()?.iter().map(read).collect()
}

fn read(at: &At<'_>) -> Result<Caveat, InvalidCaveat> {
    let kind = at.field("type")?;
    let named = |_: &At<'_>, name: &str| Ok(name.to_owned());
    let body = || at.field("body");
    Ok(match kind.text()?.as_str() {
        "Organization" | "DeprecatedOrganization" => Caveat::Organization {
            id: body()?.field("id")?.number()?,
            mask: body()?.field("mask")?.action()?,
        },
        "Volumes" => Caveat::Volumes(body()?.resources("volumes", named)?),
        "Apps" | "DeprecatedApps" => Caveat::Apps(body()?.resources("apps", |at, name| {
            let number = if name.is_empty() { "0" } else { name };
            number
                .parse()
                .map_err(|_| at.wrong("an app is named by its number"))
        })?),
        "ValidityWindow" => Caveat::ValidityWindow {
            not_before: body()?.field("not_before")?.seconds()?,
            not_after: body()?.field("not_after")?.seconds()?,
        },
        "FeatureSet" => Caveat::FeatureSet(body()?.resources("features", named)?),
        "Mutations" => Caveat::Mutations(body()?.field("mutations")?.texts()?),
        "Machines" => Caveat::Machines(body()?.resources("machines", named)?),
        "IsUser" => Caveat::IsUser(body()?.field("uint64")?.number()?),
        "IfPresent" => Caveat::IfPresent(IfPresent {
            ifs: read_all(&body()?.field("ifs")?)?,
            otherwise: body()?.field("else")?.action()?,
        }),
        "MachineFeatureSet" => Caveat::MachineFeatureSet(body()?.resources("features", named)?),
        "FromMachineSource" => Caveat::FromMachine(body()?.field("id")?.text()?),
        "IsMember" | "NoAdminFeatures" => Caveat::IsMember,
        "Action" => Caveat::Action(body()?.action()?),
        "Commands" => {
            let commands = body()?.items()?;
            let command = |at: &At<'_>| {
                Ok(AllowedCommand {
                    args: at.field("args")?.texts()?,
                    exact: at.object()?.get("exact").and_then(Value::as_bool) == Some(true),
                })
            };
            Caveat::Commands(commands.iter().map(command).collect::<Result<_, _>>()?)
        }
        "AppFeatureSet" => Caveat::AppFeatureSet(body()?.resources("features", named)?),
        "AllowedRoles" => {
            let body = body()?;
            let roles = u32::try_from(body.number()?);
            Caveat::AllowedRoles(Roles(roles.map_err(|_| body.wrong("are 32 bits"))?))
        }
        "Sources" => Caveat::Sources(body()?.field("sources")?.parsed()?),
        "Images" => Caveat::Images(body()?.field("images")?.parsed()?),
        "Regions" => Caveat::Regions(body()?.field("regions")?.texts()?),
        other => {
            let known: Vec<&str> = kind::ALL
                .iter()
                .map(|(_, name)| *name)
                .filter(|name| !matches!(*name, "3P" | "BindToParentToken" | "FlyioUserID"))
                .collect();
            return Err(kind.wrong(format!("\"{other}\" is none of {}", known.join(", "))));
        }
    })
}

/// Every caveat with its kind and body; sealed parts are left out.
pub fn caveats_to_json<'a>(caveats: impl IntoIterator<Item = &'a Caveat>) -> Value {
    caveats.into_iter().map(write).collect()
}

fn write(caveat: &Caveat) -> Value {
    let letters = |action: &Action| action.to_string();
    let named = |open: &Resources<String>| -> Map<String, Value> {
        open.iter()
            .map(|(name, action)| (name.clone(), letters(action).into()))
            .collect()
    };
    let body = match caveat {
        Caveat::Organization { id, mask } => json!({ "id": id, "mask": letters(mask) }),
        Caveat::Volumes(open) => json!({ "volumes": named(open) }),
        Caveat::Apps(open) => {
            let apps = open
                .iter()
                .map(|(app, action)| (app.to_string(), letters(action).into()));
            json!({ "apps": apps.collect::<Map<String, Value>>() })
        }
        Caveat::ValidityWindow {
            not_before,
            not_after,
        } => json!({ "not_before": not_before, "not_after": not_after }),
        Caveat::FeatureSet(open)
        | Caveat::MachineFeatureSet(open)
        | Caveat::AppFeatureSet(open) => json!({ "features": named(open) }),
        Caveat::Mutations(names) => json!({ "mutations": names }),
        Caveat::Machines(open) => json!({ "machines": named(open) }),
        Caveat::IsUser(id) => json!({ "uint64": id }),
        Caveat::ThirdParty(third_party) => json!({ "Location": third_party.location }),
        Caveat::BindToParentToken(prefix) => json!(STANDARD.encode(prefix)),
        Caveat::IfPresent(IfPresent { ifs, otherwise }) => {
            json!({ "ifs": caveats_to_json(ifs), "else": letters(otherwise) })
        }
        Caveat::FromMachine(id) => json!({ "id": id }),
        Caveat::IsMember => json!({}),
        Caveat::Action(mask) => json!(letters(mask)),
        Caveat::Commands(commands) => commands.iter().map(write_command).collect(),
        Caveat::AllowedRoles(roles) => json!(roles.0),
        Caveat::Sources(ranges) => json!({ "sources": shown(ranges) }),
        Caveat::Images(patterns) => json!({ "images": shown(patterns) }),
        Caveat::Regions(codes) => json!({ "regions": codes }),
        Caveat::Attestation { .. } | Caveat::Unknown { .. } => Value::Null,
    };
    let known = kind::ALL.iter().find(|(kind, _)| *kind == caveat.kind());
    let kind = known.map_or_else(|| caveat.kind().to_string(), |(_, name)| (*name).to_owned());
    json!({ "type": kind, "body": body })
}

fn shown(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn write_command(command: &AllowedCommand) -> Value {
    match command.exact {
        true => json!({ "args": command.args, "exact": true }),
        false => json!({ "args": command.args }),
    }
}
