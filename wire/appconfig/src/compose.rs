//! Services of a Compose file as containers of one machine.
//!
//! Containers of a machine share its network: what Compose calls by a service's name is at `localhost` here. Ports are
//! the configuration's to publish, so `ports` is no loss; whatever else has no counterpart is refused by name.

use mayfly_wire::{
    Container, ContainerDependency, ContainerHealthcheck, ExecProbe, File, GoDuration, Restart,
    shell_split,
};

use crate::format::{Format, parse};
use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, perhaps};
use crate::source::Source;

/// The names a Compose file has where none is given.
pub(crate) const FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// Keys that say something a machine has no need of: its services, name and network are its own.
const NEEDLESS: [&str; 9] = [
    "ports",
    "expose",
    "container_name",
    "hostname",
    "networks",
    "links",
    "init",
    "stdin_open",
    "tty",
];
const KNOWN: [&str; 12] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "depends_on",
    "healthcheck",
    "volumes",
    "restart",
    "user",
    "configs",
    "secrets",
];

/// What a Compose file comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Composed {
    pub(crate) containers: Vec<Container>,
    /// The container that gets the image that is built: the service with `build`.
    pub(crate) built: Option<String>,
    /// Files here that containers get, by container: path here, path there.
    pub(crate) binds: Vec<(usize, String, String)>,
}

/// Reads a Compose file.
///
/// # Errors
/// Every part that a machine's containers cannot do.
pub(crate) fn compose(text: &str) -> Result<Composed, Vec<Problem>> {
    let mut source = Source::new(text);
    let (root, problems) = parse(text, Format::Yaml, &source);
    let mut reader = Reader {
        composed: Composed::default(),
        source: &mut source,
        problems,
    };
    match root.get("services").and_then(Node::table) {
        Some(services) => services.iter().for_each(|service| reader.service(service)),
        None => reader.problems.push(Problem::error(
            "services",
            "is required: the containers by name",
        )),
    }
    let (composed, mut problems) = (reader.composed, reader.problems);
    if problems.is_empty() {
        return Ok(composed);
    }
    source.locate(&mut problems);
    Err(problems)
}

struct Reader<'a> {
    composed: Composed,
    source: &'a mut Source,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn refuse(&mut self, node: &Node, path: &str, text: &str) {
        self.source.note(path, &node.span);
        self.problems.push(Problem::error(path, text));
    }

    fn service(&mut self, service: &Entry) {
        let path = format!("services.{}", service.key);
        self.source.note(&path, &service.key_span);
        let Some(keys) = service.node.table() else {
            return self.refuse(&service.node, &path, "must be a table");
        };
        let index = self.composed.containers.len();
        let mut container = Container {
            name: Some(service.key.clone()),
            ..Container::default()
        };
        for key in keys {
            let at = format!("{path}.{}", key.key);
            self.source.note(&at, &key.key_span);
            self.key(key, &at, index, &mut container);
        }
        if service.node.get("build").is_some() {
            // `.` is the image that is built, as in a machine configuration.
            container.image = Some(".".to_owned());
            if self.composed.built.replace(service.key.clone()).is_some() {
                self.refuse(
                    &service.node,
                    &path,
                    "is the second service with a build; an app has one image",
                );
            }
        } else if container.image.is_none() {
            self.refuse(&service.node, &path, "must have an image or a build");
        }
        self.composed.containers.push(container);
    }

    fn key(&mut self, key: &Entry, at: &str, index: usize, container: &mut Container) {
        let node = &key.node;
        match key.key.as_str() {
            "image" => container.image = self.text(node, at),
            "build" => {}
            "command" => container.cmd = self.command(node, at),
            "entrypoint" => container.entrypoint = self.command(node, at),
            "user" => container.user = self.text(node, at),
            "environment" => self.environment(node, at, container),
            "depends_on" => self.depends_on(node, at, container),
            "healthcheck" => self.healthcheck(node, at, container),
            "volumes" => self.volumes(node, at, index),
            "restart" => self.restart(node, at, container),
            name if NEEDLESS.contains(&name) || name.starts_with("x-") => {}
            name => {
                let meant = perhaps(name, KNOWN);
                self.refuse(
                    node,
                    at,
                    &format!("has no counterpart in a machine's container{meant}"),
                );
            }
        }
    }

    fn text(&mut self, node: &Node, at: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null => Some(String::new()),
            Value::List(_) | Value::Table(_) => {
                self.refuse(node, at, "must be a text");
                None
            }
        }
    }

    fn command(&mut self, node: &Node, at: &str) -> Option<Vec<String>> {
        if let Value::List(words) = &node.value {
            return words.iter().map(|word| self.text(word, at)).collect();
        }
        let line = self.text(node, at)?;
        match shell_split(&line) {
            Ok(words) => Some(words),
            Err(error) => {
                self.refuse(node, at, &format!("is not a command: {error}"));
                None
            }
        }
    }

    fn environment(&mut self, node: &Node, at: &str, container: &mut Container) {
        let env = container.env.get_or_insert_default();
        match &node.value {
            Value::Table(entries) => {
                for entry in entries {
                    if let Some(value) = self.text(&entry.node, at) {
                        env.insert(entry.key.clone(), value);
                    }
                }
            }
            Value::List(items) => {
                for item in items {
                    let Some(pair) = self.text(item, at) else {
                        continue;
                    };
                    match pair.split_once('=') {
                        Some((name, value)) => {
                            env.insert(name.to_owned(), value.to_owned());
                        }
                        None => self.refuse(item, at, &format!("takes {pair} from your own environment; give it a value, or use a secret")),
                    }
                }
            }
            _ => self.refuse(node, at, "must be a table or a list of NAME=VALUE"),
        }
    }

    fn depends_on(&mut self, node: &Node, at: &str, container: &mut Container) {
        let dependency = |name: &str, condition: &str| ContainerDependency {
            name: Some(name.to_owned()),
            condition: Some(condition.to_owned()),
        };
        let mut dependencies = Vec::new();
        match &node.value {
            Value::List(names) => {
                for name in names {
                    dependencies
                        .extend(self.text(name, at).map(|name| dependency(&name, "started")));
                }
            }
            Value::Table(entries) => {
                for entry in entries {
                    let condition = entry.node.get("condition").and_then(Node::text);
                    match condition {
                        None | Some("service_started") => {
                            dependencies.push(dependency(&entry.key, "started"))
                        }
                        Some("service_healthy") => {
                            dependencies.push(dependency(&entry.key, "healthy"))
                        }
                        Some("service_completed_successfully") => {
                            dependencies.push(dependency(&entry.key, "exited_successfully"));
                        }
                        Some(other) => self.refuse(
                            &entry.node,
                            at,
                            &format!("has the unknown condition \"{other}\""),
                        ),
                    }
                }
            }
            _ => self.refuse(node, at, "must be a list or a table of services"),
        }
        container.depends_on = Some(dependencies);
    }

    fn healthcheck(&mut self, node: &Node, at: &str, container: &mut Container) {
        if node.get("disable").map(|node| &node.value) == Some(&Value::Bool(true)) {
            return;
        }
        let shell = |line: String| vec!["/bin/sh".to_owned(), "-c".to_owned(), line];
        let command = match node.get("test").map(|test| &test.value) {
            Some(Value::Text(line)) => Some(shell(line.clone())),
            Some(Value::List(words)) => {
                let words: Vec<String> = words
                    .iter()
                    .filter_map(Node::text)
                    .map(str::to_owned)
                    .collect();
                match words.split_first() {
                    Some((first, rest)) if first == "CMD" => Some(rest.to_vec()),
                    Some((first, rest)) if first == "CMD-SHELL" => Some(shell(rest.join(" "))),
                    Some((first, _)) if first == "NONE" => return,
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(command) = command.filter(|command| !command.is_empty()) else {
            return self.refuse(
                node,
                at,
                "must have a test: a text, or a list that begins with CMD or CMD-SHELL",
            );
        };
        let seconds = |key: &str| {
            let span: GoDuration = node.get(key)?.text()?.parse().ok()?;
            i64::try_from(span.0.as_secs().max(1)).ok()
        };
        let retries = match node.get("retries").map(|retries| &retries.value) {
            Some(Value::Integer(count)) => Some(*count),
            _ => None,
        };
        container.healthchecks = Some(vec![ContainerHealthcheck {
            name: Some("compose".to_owned()),
            interval: seconds("interval"),
            timeout: seconds("timeout"),
            grace_period: seconds("start_period"),
            failure_threshold: retries,
            exec: Some(ExecProbe {
                command: Some(command),
            }),
            ..ContainerHealthcheck::default()
        }]);
    }

    /// Files of the project become files of the container; volumes are the machine's.
    fn volumes(&mut self, node: &Node, at: &str, index: usize) {
        let Value::List(items) = &node.value else {
            return self.refuse(node, at, "must be a list");
        };
        for item in items {
            let pair = match item.text() {
                Some(text) => text
                    .split_once(':')
                    .map(|(from, rest)| (from, rest.split(':').next().unwrap_or(rest))),
                None => item
                    .get("source")
                    .and_then(Node::text)
                    .zip(item.get("target").and_then(Node::text))
                    .filter(|_| item.get("type").and_then(Node::text) == Some("bind")),
            };
            match pair {
                Some((from, to)) if from.starts_with(['.', '/']) => {
                    self.composed.binds.push((index, from.to_owned(), to.to_owned()));
                }
                _ => self.refuse(item, at, "names a volume of Compose: use [mounts], which all containers of the machine can see"),
            }
        }
    }

    fn restart(&mut self, node: &Node, at: &str, container: &mut Container) {
        let policy = match &node.value {
            Value::Bool(false) => Some("no"),
            Value::Text(text) => match text.split(':').next() {
                Some("no") => Some("no"),
                Some("always" | "unless-stopped") => Some("always"),
                Some("on-failure") => Some("on-failure"),
                _ => None,
            },
            _ => None,
        };
        match policy {
            Some(policy) => {
                container.restart = Some(Restart {
                    policy: Some(policy.to_owned()),
                    max_retries: None,
                });
            }
            None => self.refuse(
                node,
                at,
                "must be one of \"no\", \"always\", \"on-failure\", \"unless-stopped\"",
            ),
        }
    }
}

impl Composed {
    /// The containers with their files, whose contents `read` brings.
    ///
    /// # Errors
    /// What `read` answers.
    pub(crate) fn with_files<E>(
        mut self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<Container>, E> {
        use base64::Engine as _;
        for (index, from, to) in std::mem::take(&mut self.binds) {
            let content = base64::engine::general_purpose::STANDARD.encode(read(&from)?);
            self.containers[index]
                .files
                .get_or_insert_default()
                .push(File {
                    guest_path: Some(to),
                    raw_value: Some(content),
                    ..File::default()
                });
        }
        Ok(self.containers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_become_containers() {
        let text = "services:\n  web:\n    build: .\n    command: serve --port 8080\n    ports: ['80:8080']\n    environment:\n      - A=b=c\n    \
                    depends_on:\n      db:\n        condition: service_healthy\n    volumes:\n      - ./nginx.conf:/etc/nginx.conf:ro\n  db:\n    \
                    image: postgres:17\n    restart: unless-stopped\n    environment:\n      PORT: 5432\n    healthcheck:\n      test: ['CMD', 'pg_isready']\n      \
                    interval: 10s\n      retries: 5\n";
        let composed = compose(text).unwrap();
        assert_eq!(composed.built.as_deref(), Some("web"));
        let containers = composed
            .with_files(|path| Ok::<_, ()>(path.as_bytes().to_vec()))
            .unwrap();
        assert_eq!(
            serde_json::to_value(containers).unwrap(),
            json!([
                {
                    "name": "web", "image": ".", "cmd": ["serve", "--port", "8080"], "env": { "A": "b=c" },
                    "files": [{ "guest_path": "/etc/nginx.conf", "raw_value": "Li9uZ2lueC5jb25m" }],
                    "depends_on": [{ "name": "db", "condition": "healthy" }],
                },
                {
                    "name": "db", "image": "postgres:17", "env": { "PORT": "5432" }, "restart": { "policy": "always" },
                    "healthchecks": [{
                        "name": "compose", "interval": 10, "failure_threshold": 5, "exec": { "command": ["pg_isready"] },
                    }],
                },
            ])
        );
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let text = "services:\n  a:\n    image: x\n    volumes: [data:/data]\n    privileged: true\n  b: {}\n";
        let problems = compose(text).unwrap_err();
        let found: Vec<(&str, usize)> = problems
            .iter()
            .map(|problem| (problem.path.as_str(), problem.line))
            .collect();
        assert_eq!(
            found,
            [
                ("services.a.volumes", 4),
                ("services.a.privileged", 5),
                ("services.b", 6)
            ]
        );
        assert!(compose("a: 1").is_err() && compose("services: [").is_err());
    }
}
