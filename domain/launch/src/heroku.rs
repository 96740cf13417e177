//! `app.json`, Heroku's description of an app beside its `Procfile`.

use serde_json::Value;

use crate::project::{Backing, Project};

/// Takes over what has a counterpart here; every other key becomes a note, so that nothing is lost in silence.
pub(crate) fn apply(text: &str, project: &mut Project) {
    let Ok(Value::Object(app)) = serde_json::from_str(text) else {
        project.note("app.json is not taken over: it is no JSON object.");
        return;
    };
    for (key, value) in &app {
        match key.as_str() {
            // About the repository, not about what runs.
            "name" | "description" | "keywords" | "website" | "repository" | "logo" | "$schema"
            | "success_url" => {}
            "env" => env(value, project),
            "addons" => addons(value, project),
            "formation" => formation(value, project),
            _ => project.note(format!("app.json: {key} is not taken over.")),
        }
    }
}

/// Variables with a value are settings; what is required or generated has to be set as a secret.
fn env(value: &Value, project: &mut Project) {
    for (name, wish) in value.as_object().into_iter().flatten() {
        let given = wish.as_str().or_else(|| wish.get("value")?.as_str());
        let known = project.env.iter().any(|(known, _)| known == name)
            || project.secrets.iter().any(|secret| secret.name == name);
        match given {
            _ if known => {}
            Some(value) => project.env(name, value),
            None if wish.get("required") == Some(&Value::from(false)) => {}
            None => project.note(format!(
                "app.json wants {name}: set it with secrets set {name}=…"
            )),
        }
    }
}

fn addons(value: &Value, project: &mut Project) {
    for addon in value.as_array().into_iter().flatten() {
        let Some(plan) = addon.as_str().or_else(|| addon.get("plan")?.as_str()) else {
            continue;
        };
        let service = plan.split(':').next().unwrap_or(plan);
        match service {
            "heroku-postgresql" => project.wants(Backing::Postgres),
            "heroku-redis" | "rediscloud" | "heroku-key-value-store" => {
                project.wants(Backing::Redis);
            }
            "jawsdb" | "cleardb" | "jawsdb-maria" => project.wants(Backing::Mysql),
            "bucketeer" => project.wants(Backing::ObjectStorage),
            _ => project.note(format!("app.json: the add-on {plan} is not taken over.")),
        }
    }
}

/// How many of a process Heroku runs, and how large; here that is said after the first deployment.
fn formation(value: &Value, project: &mut Project) {
    for (process, wish) in value.as_object().into_iter().flatten() {
        let count = wish.get("quantity").and_then(Value::as_u64).unwrap_or(1);
        if count != 1 {
            project.note(format!(
                "app.json runs {count} of {process}: scale count {process}={count} does that after the first deployment."
            ));
        }
        if let Some(size) = wish.get("size").and_then(Value::as_str) {
            project.note(format!(
                "app.json: the size {size} of {process} is not taken over; scale vm chooses one."
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_taken_over_or_named() {
        let mut project = Project::default();
        project.env("PORT", 8080);
        let text = r#"{"name": "shop", "stack": "heroku-24",
            "env": {"LANG": "C.UTF-8", "PORT": "1", "MODE": {"value": "live"}, "KEY": {"generator": "secret"},
                    "SPARE": {"required": false}},
            "addons": ["heroku-postgresql:essential-0", {"plan": "heroku-redis"}, "papertrail"],
            "formation": {"web": {"quantity": 2, "size": "Standard-1X"}, "worker": {"quantity": 1}}}"#;
        apply(text, &mut project);
        let env = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut known = project.env.clone();
        known.sort();
        assert_eq!(
            known,
            [
                env("LANG", "C.UTF-8"),
                env("MODE", "live"),
                env("PORT", "8080")
            ]
        );
        assert_eq!(project.backing, [Backing::Postgres, Backing::Redis]);
        let notes = project.notes.join("\n");
        for named in ["stack", "KEY", "papertrail", "web=2", "Standard-1X"] {
            assert!(notes.contains(named), "{named}: {notes}");
        }
        for silent in ["SPARE", "LANG", "worker", "shop"] {
            assert!(!notes.contains(silent), "{silent}: {notes}");
        }
    }
}
