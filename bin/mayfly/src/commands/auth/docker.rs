use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use mayfly_types::Secret;
use serde_json::{Map, Value, json};

use crate::context::{Context, JsonFlag, not_authenticated};
use crate::failure::Failure;
use crate::private_file::write_private;

/// The registry takes any name; upstream's client says this.
const USER: &str = "x";

#[derive(Args, Debug)]
#[command(
    after_help = "Writes the token in use into docker's configuration ($DOCKER_CONFIG/config.json or \
                        ~/.docker/config.json), which podman, buildah and skopeo read as well, or gives it to the \
                        credential helper that is configured there.\n\nThe registry is called like the API's host; \
                        from elsewhere it is registry.<domain> at the edge's HTTPS port. $FLY_REGISTRY_HOST names \
                        another."
)]
pub(crate) struct Docker {
    #[command(flatten)]
    json: JsonFlag,
}

impl Docker {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let token = context.token()?.ok_or_else(not_authenticated)?;
        let hosts = match env::var("FLY_REGISTRY_HOST") {
            Ok(host) if !host.is_empty() => vec![host],
            _ => hosts(context).await?,
        };
        let mut config = DockerConfig::load(config_path()?)?;
        for host in &hosts {
            config.log_in(host, &token)?;
        }
        config.save()?;
        if self.json.json {
            return Ok(context.out.json(&json!({ "hosts": hosts }))?);
        }
        context.out.line(&format!(
            "Authentication successful. You can now tag and push images to {}/{{your-app}}",
            hosts[0]
        ))?;
        for more in &hosts[1..] {
            context
                .out
                .line(&format!("From elsewhere: {more}/{{your-app}}"))?;
        }
        Ok(())
    }
}

/// The API's own address first, then what the edge calls the registry.
async fn hosts(context: &Context) -> anyhow::Result<Vec<String>> {
    let api = context.endpoints()?.machines;
    let near = api.split_once("://").map_or(api.as_str(), |(_, host)| host);
    let near = near.split('/').next().unwrap_or(near).to_owned();
    let answer = context.api()?.registry().await?;
    let far = answer.get("host").and_then(Value::as_str);
    let far = far.filter(|far| *far != near).map(str::to_owned);
    Ok([near].into_iter().chain(far).collect())
}

fn config_path() -> anyhow::Result<PathBuf> {
    let named = env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let directory = named.map(PathBuf::from).or_else(home);
    let directory = directory.ok_or_else(|| {
        Failure::new("no place for docker's configuration: neither DOCKER_CONFIG nor HOME is set")
    })?;
    Ok(directory.join("config.json"))
}

/// Docker's configuration, of which everything we do not know stays as it is.
struct DockerConfig {
    path: PathBuf,
    content: Map<String, Value>,
}

impl DockerConfig {
    fn load(path: PathBuf) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("read {}", path.display()))?,
        };
        if text.trim().is_empty() {
            let content = Map::new();
            return Ok(Self { path, content });
        }
        let content = serde_json::from_str(&text).map_err(|error| {
            Failure::new(format!(
                "{} is not what docker writes: {error}",
                path.display()
            ))
            .remedy("Repair the file or move it away.")
        })?;
        Ok(Self { path, content })
    }

    /// The program that keeps logins for a registry; docker then looks nowhere else.
    fn helper(&self, host: &str) -> Option<&str> {
        let own = self
            .content
            .get("credHelpers")
            .and_then(|all| all.get(host));
        let helper = own.or_else(|| self.content.get("credsStore"))?.as_str()?;
        Some(helper).filter(|name| !name.is_empty())
    }

    fn log_in(&mut self, host: &str, token: &Secret) -> anyhow::Result<()> {
        if let Some(helper) = self.helper(host) {
            return give_to_helper(helper, host, token);
        }
        let auth = STANDARD.encode(format!("{USER}:{}", token.reveal()));
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        let Value::Object(auths) = auths else {
            let path = self.path.display();
            return Err(Failure::new(format!("{path}: \"auths\" must be an object")).into());
        };
        auths.insert(host.to_owned(), json!({ "auth": auth }));
        Ok(())
    }

    fn save(&self) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.content)?;
        text.push('\n');
        write_private(&self.path, text.as_bytes())
            .with_context(|| format!("write {}", self.path.display()))
    }
}

/// <https://docs.docker.com/reference/cli/docker/login/#credential-helper-protocol>
fn give_to_helper(helper: &str, host: &str, token: &Secret) -> anyhow::Result<()> {
    let program = format!("docker-credential-{helper}");
    let failed = |what: &str| {
        Failure::new(format!("{program} does not take the token: {what}"))
            .remedy("It is named in docker's configuration as credsStore or in credHelpers.")
    };
    let mut child = Command::new(&program)
        .arg("store")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let login = json!({ "ServerURL": host, "Username": USER, "Secret": token.reveal() });
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // A helper that does not listen says why in its answer.
    let _ = stdin.write_all(login.to_string().as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stdout).trim()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, text).unwrap();
        (directory, DockerConfig::load(path).unwrap())
    }

    #[test]
    fn a_login_is_added_and_everything_else_stays() {
        let before = r#"{"auths": {"other": {"auth": "b"}}, "psFormat": "table"}"#;
        let (directory, mut docker) = config(before);
        let token = Secret::new("token");
        docker.log_in("registry.test", &token).unwrap();
        docker.save().unwrap();
        let after = fs::read_to_string(directory.path().join("config.json")).unwrap();
        let after: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(
            after,
            json!({
                "auths": {"other": {"auth": "b"}, "registry.test": {"auth": "eDp0b2tlbg=="}},
                "psFormat": "table",
            })
        );
    }

    #[test]
    fn helpers_are_found_for_all_or_one_registry() {
        let (_directory, all) = config(r#"{"credsStore": "pass"}"#);
        assert_eq!(all.helper("a.test"), Some("pass"));
        let (_directory, one) = config(r#"{"credHelpers": {"a.test": "one"}}"#);
        assert_eq!(
            (one.helper("a.test"), one.helper("b.test")),
            (Some("one"), None)
        );
        let (_directory, mut missing) = config(r#"{"credsStore": "no-such-helper"}"#);
        let token = Secret::new("a-token");
        let problem = missing.log_in("a.test", &token).unwrap_err();
        let problem = format!("{problem:#}");
        assert!(
            problem.contains("docker-credential-no-such-helper"),
            "{problem}"
        );
        assert!(!problem.contains("a-token"), "{problem}");
    }
}
