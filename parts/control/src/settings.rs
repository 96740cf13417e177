use std::path::PathBuf;

/// What the control plane is told about the cloud it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Apps are reached as `<app>.<domain>`.
    pub domain: String,
    /// The port of the edge's HTTP listener, for addresses shown to users.
    pub edge_port: u16,
    /// Shown by `status`.
    pub version: String,
    /// A directory for uploads under way. Emptied at the start.
    pub uploads: PathBuf,
}

impl Settings {
    pub(crate) fn hostname(&self, app: &str) -> String {
        format!("{app}.{}", self.domain)
    }

    pub(crate) fn app_url(&self, app: &str) -> String {
        let hostname = self.hostname(app);
        match self.edge_port {
            80 => format!("http://{hostname}/"),
            port => format!("http://{hostname}:{port}/"),
        }
    }
}
