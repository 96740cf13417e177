//! What a machine's document says, for showing and deciding.

use serde_json::{Map, Value};

/// A machine as the API describes it. Missing fields read as empty.
#[derive(Clone, Debug)]
pub(crate) struct Machine(Value);

/// One entry of a machine's history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineEvent<'a>(&'a Value);

/// How a machine's checks stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckCounts {
    pub(crate) total: usize,
    pub(crate) passing: usize,
    pub(crate) warning: usize,
    pub(crate) critical: usize,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Machine {
    pub(crate) fn new(document: Value) -> Self {
        Self(document)
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }

    pub(crate) fn into_document(self) -> Value {
        self.0
    }

    pub(crate) fn id(&self) -> &str {
        text(&self.0, "id")
    }

    pub(crate) fn name(&self) -> &str {
        text(&self.0, "name")
    }

    pub(crate) fn state(&self) -> &str {
        text(&self.0, "state")
    }

    pub(crate) fn region(&self) -> &str {
        text(&self.0, "region")
    }

    pub(crate) fn instance_id(&self) -> &str {
        text(&self.0, "instance_id")
    }

    pub(crate) fn private_ip(&self) -> &str {
        text(&self.0, "private_ip")
    }

    pub(crate) fn created_at(&self) -> &str {
        text(&self.0, "created_at")
    }

    pub(crate) fn updated_at(&self) -> &str {
        text(&self.0, "updated_at")
    }

    pub(crate) fn host_status(&self) -> &str {
        text(&self.0, "host_status")
    }

    /// Whether the machine's host answers; only then its details are current.
    pub(crate) fn is_reachable(&self) -> bool {
        self.host_status() == "ok"
    }

    /// Neither destroyed nor on the way there.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self.state(), "destroyed" | "destroying")
    }

    /// Its configuration, or what is known of it while its host is away.
    pub(crate) fn config(&self) -> &Value {
        match self.0.get("config") {
            Some(config) if !config.is_null() => config,
            _ => self.0.get("incomplete_config").unwrap_or(&Value::Null),
        }
    }

    /// Its configuration, for editing.
    pub(crate) fn config_copy(&self) -> Map<String, Value> {
        self.config().as_object().cloned().unwrap_or_default()
    }

    pub(crate) fn metadata(&self, key: &str) -> &str {
        self.config()
            .get("metadata")
            .map_or("", |metadata| text(metadata, key))
    }

    /// The role in its app; older machines say it under an older key.
    pub(crate) fn process_group(&self) -> &str {
        match self.metadata("fly_process_group") {
            "" => self.metadata("process_group"),
            group => group,
        }
    }

    /// Whether deployments manage it; machines of `machine run` stand alone.
    pub(crate) fn is_managed(&self) -> bool {
        self.metadata("fly_platform_version") == "v2"
    }

    pub(crate) fn standbys(&self) -> Vec<&str> {
        let standbys = self.config().get("standbys").and_then(Value::as_array);
        standbys
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    pub(crate) fn is_auto_destroyed(&self) -> bool {
        let flag = self.config().get("auto_destroy");
        flag.and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn volume(&self) -> &str {
        self.config()
            .get("mounts")
            .and_then(|mounts| mounts.get(0))
            .map_or("", |mount| text(mount, "volume"))
    }

    /// Where its volume is mounted.
    pub(crate) fn mount_path(&self) -> &str {
        self.config()
            .get("mounts")
            .and_then(|mounts| mounts.get(0))
            .map_or("", |mount| text(mount, "path"))
    }

    fn guest(&self, key: &str) -> Option<&Value> {
        self.config().get("guest")?.get(key)
    }

    pub(crate) fn cpu_kind(&self) -> &str {
        self.guest("cpu_kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn cpus(&self) -> Option<u64> {
        self.guest("cpus")?.as_u64()
    }

    pub(crate) fn memory_mib(&self) -> Option<u64> {
        self.guest("memory_mb")?.as_u64()
    }

    /// Such as `shared-cpu-1x:256MB`; empty if unknown.
    pub(crate) fn size(&self) -> String {
        let (Some(cpus), Some(memory_mib)) = (self.cpus(), self.memory_mib()) else {
            return String::new();
        };
        let name = match self.cpu_kind() {
            "shared" => format!("shared-cpu-{cpus}x"),
            "performance" => format!("performance-{cpus}x"),
            _ => "unknown".to_owned(),
        };
        format!("{name}:{memory_mib}MB")
    }

    /// Repository and tag, with the version its label names.
    pub(crate) fn image(&self) -> String {
        let Some(image) = self.0.get("image_ref") else {
            return String::new();
        };
        let short = format!("{}:{}", text(image, "repository"), text(image, "tag"));
        let version = image
            .get("labels")
            .map_or("", |labels| text(labels, "fly.version"));
        if version.is_empty() {
            short
        } else {
            format!("{short} ({version})")
        }
    }

    /// What the machine runs, in parts.
    pub(crate) fn image_ref(&self) -> &Value {
        self.0.get("image_ref").unwrap_or(&Value::Null)
    }

    /// Registry, repository and tag, which may stand for another image by now; `None` without a tag.
    pub(crate) fn tagged_image(&self) -> Option<String> {
        let image = self.image_ref();
        let [registry, repository, tag] =
            ["registry", "repository", "tag"].map(|key| text(image, key));
        (!tag.is_empty()).then(|| format!("{registry}/{repository}:{tag}"))
    }

    /// Registry, repository, tag and digest: exactly what runs.
    pub(crate) fn full_image(&self) -> Option<String> {
        let image = self.0.get("image_ref")?;
        let part = |key, mark: &str| match text(image, key) {
            "" => String::new(),
            value => format!("{mark}{value}"),
        };
        let repository = text(image, "repository");
        let (tag, digest) = (part("tag", ":"), part("digest", "@"));
        (!repository.is_empty())
            .then(|| format!("{}/{repository}{tag}{digest}", text(image, "registry")))
    }

    /// Name, status, time of the last result and output of each check.
    pub(crate) fn checks(&self) -> Vec<[&str; 4]> {
        let checks = self.0.get("checks").and_then(Value::as_array);
        checks
            .into_iter()
            .flatten()
            .map(|check| ["name", "status", "updated_at", "output"].map(|key| text(check, key)))
            .collect()
    }

    pub(crate) fn check_counts(&self) -> CheckCounts {
        let checks = self.checks();
        let with = |wanted| {
            checks
                .iter()
                .filter(|[_, status, ..]| *status == wanted)
                .count()
        };
        CheckCounts {
            total: checks.len(),
            passing: with("passing"),
            warning: with("warning"),
            critical: with("critical"),
        }
    }

    /// Newest first.
    pub(crate) fn events(&self) -> Vec<MachineEvent<'_>> {
        let events = self.0.get("events").and_then(Value::as_array);
        events.into_iter().flatten().map(MachineEvent).collect()
    }

    /// Such as `["/bin/sh","-c"]`; empty if the image decides.
    pub(crate) fn init_words(&self, key: &str) -> String {
        match self.config().get("init").and_then(|init| init.get(key)) {
            Some(Value::Array(words)) if !words.is_empty() => {
                Value::from(words.clone()).to_string()
            }
            _ => String::new(),
        }
    }
}

impl MachineEvent<'_> {
    pub(crate) fn status(&self) -> &str {
        text(self.0, "status")
    }

    pub(crate) fn kind(&self) -> &str {
        text(self.0, "type")
    }

    pub(crate) fn source(&self) -> &str {
        text(self.0, "source")
    }

    /// RFC 3339 in UTC.
    pub(crate) fn at(&self) -> String {
        let millis = self.0.get("timestamp").and_then(Value::as_i64);
        millis.map_or_else(String::new, |millis| {
            mayfly_types::Timestamp::from_millis(millis).to_string()
        })
    }

    fn exit(&self, key: &str) -> Option<&Value> {
        self.0.get("request")?.get("exit_event")?.get(key)
    }

    /// Exit code, whether memory ran out and whether a stop was asked for, if the event is an exit.
    pub(crate) fn exit_note(&self) -> String {
        let Some(exit_code) = self.exit("exit_code").and_then(Value::as_i64) else {
            return String::new();
        };
        let flag = |key| self.exit(key).and_then(Value::as_bool).unwrap_or_default();
        format!(
            "exit_code={exit_code},oom_killed={},requested_stop={}",
            flag("oom_killed"),
            flag("requested_stop")
        )
    }
}

impl CheckCounts {
    /// `2/3`, or nothing without checks.
    pub(crate) fn fraction(self) -> String {
        match self.total {
            0 => String::new(),
            total => format!("{}/{total}", self.passing),
        }
    }

    /// `3 total, 2 passing, 1 critical`, or nothing without checks.
    pub(crate) fn sentence(self) -> String {
        let counts = [
            (self.total, "total"),
            (self.passing, "passing"),
            (self.warning, "warning"),
            (self.critical, "critical"),
        ];
        let parts: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_with_nothing_in_it_reads_as_empty() {
        let machine = Machine::new(json!({}));
        assert_eq!((machine.id(), machine.size().as_str()), ("", ""));
        assert_eq!(machine.full_image(), None);
        assert_eq!(machine.check_counts().sentence(), "");
        assert!(machine.events().is_empty() && machine.standbys().is_empty());
    }

    #[test]
    fn a_machine_away_shows_what_is_known_of_its_config() {
        let machine = Machine::new(json!({
            "config": null,
            "incomplete_config": { "metadata": { "process_group": "web" } },
        }));
        assert_eq!(machine.process_group(), "web");
    }

    #[test]
    fn images_are_short_for_people_and_exact_for_machines() {
        let machine = Machine::new(json!({ "image_ref": {
            "registry": "docker.io", "repository": "library/nginx", "tag": "1.27",
            "digest": "sha256:ab", "labels": { "fly.version": "v0.1" },
        }}));
        assert_eq!(machine.image(), "library/nginx:1.27 (v0.1)");
        assert_eq!(
            machine.full_image().as_deref(),
            Some("docker.io/library/nginx:1.27@sha256:ab")
        );
    }

    #[test]
    fn checks_are_counted_by_status() {
        let check = |status| json!({ "name": status, "status": status });
        let machine = Machine::new(json!({ "checks": [check("passing"), check("critical")] }));
        let counts = machine.check_counts();
        assert_eq!(counts.fraction(), "1/2");
        assert_eq!(counts.sentence(), "2 total, 1 passing, 1 critical");
    }
}
