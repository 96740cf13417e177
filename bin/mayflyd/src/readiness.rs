use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use anyhow::Context;
use mayfly_control::EdgeAddress;
use serde::Serialize;
use tracing::warn;

/// Tells others how far the daemon is: a file in the data directory for `mayfly up`, `status` and `down`, and the
/// notification socket for systemd.
///
/// The file outlives a daemon that was killed; a reader believes it only while its `pid` lives and holds the lock.
#[derive(Debug)]
pub(crate) struct Readiness {
    path: PathBuf,
    status: DaemonStatus,
}

#[derive(Clone, Debug, Serialize)]
struct DaemonStatus {
    pid: u32,
    version: &'static str,
    /// `starting`, `ready` or `stopping`.
    phase: &'static str,
    /// What is being done while `starting`, or still waited for when `ready`.
    step: Option<&'static str>,
    api_url: Option<String>,
    /// Where this server joined its fleet; it has no API of its own then.
    joined_at: Option<String>,
    /// `{app}` stands for the app's name.
    app_url: Option<String>,
    app_tls_url: Option<String>,
    /// Where requests for apps arrive, by region; the first is that of `app_url`.
    edges: Vec<EdgeAddress>,
}

impl Readiness {
    pub(crate) fn starting(data_dir: &Path) -> anyhow::Result<Self> {
        let readiness = Self {
            path: data_dir.join("mayflyd.json"),
            status: DaemonStatus {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION"),
                phase: "starting",
                step: None,
                api_url: None,
                joined_at: None,
                app_url: None,
                app_tls_url: None,
                edges: Vec::new(),
            },
        };
        readiness.publish()?;
        Ok(readiness)
    }

    pub(crate) fn step(&mut self, step: &'static str) -> anyhow::Result<()> {
        self.status.step = Some(step);
        tracing::debug!(step, "starting");
        self.publish()?;
        notify(&format!("STATUS={step}"));
        Ok(())
    }

    /// What was waited for while already serving is there.
    pub(crate) fn step_done(&mut self) -> anyhow::Result<()> {
        self.status.step = None;
        self.publish()?;
        notify("STATUS=serving");
        Ok(())
    }

    pub(crate) fn ready(
        &mut self,
        api_url: Option<String>,
        joined_at: Option<String>,
        app_url: String,
        app_tls_url: String,
        edges: Vec<EdgeAddress>,
        waits_for: Option<&'static str>,
    ) -> anyhow::Result<()> {
        self.status.phase = "ready";
        self.status.step = waits_for;
        self.status.api_url = api_url;
        self.status.joined_at = joined_at;
        self.status.app_url = Some(app_url);
        self.status.app_tls_url = Some(app_tls_url);
        self.status.edges = edges;
        self.publish()?;
        let status = waits_for.unwrap_or("serving");
        notify(&format!("READY=1\nSTATUS={status}"));
        Ok(())
    }

    pub(crate) fn stopping(&mut self) {
        self.status.phase = "stopping";
        if let Err(error) = self.publish() {
            warn!(error = format!("{error:#}"), "status file not written");
        }
        notify("STOPPING=1");
    }

    /// The daemon ends in order: nobody shall look for it.
    pub(crate) fn gone(self) {
        std::fs::remove_file(&self.path).ok();
    }

    /// A reader sees the whole old text or the whole new one.
    fn publish(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.status)?;
        let fresh = self.path.with_extension("json.new");
        std::fs::write(&fresh, text + "\n")
            .and_then(|()| std::fs::rename(&fresh, &self.path))
            .with_context(|| format!("write {}", self.path.display()))
    }
}

/// Speaks to the service manager, if one started us: see sd_notify(3).
fn notify(message: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let name = name.into_encoded_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(hidden) => SocketAddr::from_abstract_name(hidden),
        None => SocketAddr::from_pathname(Path::new(&*String::from_utf8_lossy(&name))),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        warn!(error = %error, "service manager not notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_where_the_cloud_is() {
        let dir = tempfile::tempdir().unwrap();
        let read = || -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(dir.path().join("mayflyd.json")).unwrap())
                .unwrap()
        };
        let mut readiness = Readiness::starting(dir.path()).unwrap();
        readiness.step("opening the store").unwrap();
        assert_eq!(read()["step"], "opening the store");
        readiness
            .ready(
                Some("http://a".to_owned()),
                None,
                "http://{app}.b".to_owned(),
                "https://{app}.b".to_owned(),
                Vec::new(),
                Some("waiting"),
            )
            .unwrap();
        assert_eq!(read()["step"], "waiting");
        readiness.step_done().unwrap();
        assert_eq!(read()["phase"], "ready");
        assert_eq!(read()["step"], serde_json::Value::Null);
        assert_eq!(read()["api_url"], "http://a");
        readiness.gone();
        assert!(!dir.path().join("mayflyd.json").exists());
    }
}
