use std::collections::{BTreeMap, BTreeSet};

use mayfly_types::{Digest, Timestamp};
use serde::Deserialize;

/// How an image wants to be run, as its maker wrote it.
///
/// Fields as in <https://github.com/opencontainers/image-spec/blob/main/config.md>; absent ones are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub architecture: String,
    pub os: String,
    pub created_at: Option<Timestamp>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// In the order written; a variable without `=` has an empty value.
    pub env: Vec<(String, String)>,
    /// `user`, `uid`, `user:group`, `uid:gid` and mixtures; empty means root.
    pub user: String,
    /// Empty means `/`.
    pub workdir: String,
    /// `80/tcp`, `53/udp`.
    pub exposed_ports: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, `15`.
    pub stop_signal: Option<String>,
}

/// The configuration blob as far as we read it.
#[derive(Deserialize)]
pub(crate) struct ConfigBlob {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<RunBlob>,
    pub(crate) rootfs: RootfsBlob,
}

#[derive(Deserialize)]
pub(crate) struct RootfsBlob {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunBlob {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

impl ConfigBlob {
    pub(crate) fn into_parts(self) -> (ImageConfig, Vec<Digest>) {
        let run = self.config.unwrap_or_default();
        let split = |variable: String| match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable, String::new()),
        };
        let config = ImageConfig {
            architecture: self.architecture.unwrap_or_default(),
            os: self.os.unwrap_or_default(),
            created_at: self.created.and_then(|text| text.parse().ok()),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default().into_iter().map(split).collect(),
            user: run.user.unwrap_or_default(),
            workdir: run.working_dir.unwrap_or_default(),
            exposed_ports: run.exposed_ports.unwrap_or_default().into_keys().collect(),
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            labels: run.labels.unwrap_or_default(),
            stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
        };
        (config, self.rootfs.diff_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absences_are_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05.123456789Z",
            "config":{"Entrypoint":null,"Cmd":["/bin/app","-v"],"Env":["PATH=/bin","A=b=c","LONE"],"User":"1000:1000",
            "ExposedPorts":{"80/tcp":{}},"Volumes":null,"StopSignal":""},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{}]}"#;
        let (config, diff_ids) = serde_json::from_str::<ConfigBlob>(text)
            .unwrap()
            .into_parts();
        assert_eq!(config.cmd, ["/bin/app", "-v"]);
        assert!(config.entrypoint.is_empty() && config.stop_signal.is_none());
        let env: Vec<(&str, &str)> = config
            .env
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(env, [("PATH", "/bin"), ("A", "b=c"), ("LONE", "")]);
        assert_eq!(config.exposed_ports.len(), 1);
        assert_eq!(
            config.created_at.unwrap().to_string(),
            "2024-01-02T03:04:05.123Z"
        );
        assert!(diff_ids.is_empty());
        let bare = serde_json::from_str::<ConfigBlob>(r#"{"rootfs":{}}"#).unwrap();
        assert_eq!(bare.into_parts().0, ImageConfig::default());
    }
}
