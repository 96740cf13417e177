use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mayfly_testing::TestImage;
use serde_json::json;
use tempfile::TempDir;

/// A directory with what stock clients of registries need: a login, images as OCI layouts, a store of podman's.
pub struct Clients {
    directory: TempDir,
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// # Panics
    /// If there is no room for a temporary directory.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Remembers a token for registries, as a login does.
    ///
    /// # Panics
    /// If the directory is not writable.
    pub fn log_in(&self, registries: &[&str], token: &str) {
        let auth = base64(format!("x:{token}").as_bytes());
        let auths: serde_json::Map<String, serde_json::Value> = registries
            .iter()
            .map(|name| ((*name).to_owned(), json!({ "auth": auth })))
            .collect();
        let text = json!({ "auths": auths }).to_string();
        fs::write(self.path("auth.json"), text).expect("the directory is writable");
    }

    /// Has clients look for images of `registry` in a mirror without TLS first.
    ///
    /// # Panics
    /// If the directory is not writable.
    pub fn mirror(&self, registry: &str, mirror: &str) {
        let text = format!(
            "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nlocation = \"{registry}\"\n\
             [[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n"
        );
        fs::write(self.path("registries.conf"), text).expect("the directory is writable");
    }

    /// An image of three layers that prints `word` and sleeps, and holds `/srv/big` of `big` bytes that do not compress.
    ///
    /// # Panics
    /// If the directory is not writable.
    pub fn image(&self, word: &str, big: usize) -> String {
        let layout = self.path(word);
        TestImage::busybox()
            .layer()
            .file("/srv/big", 0o644, noise(big))
            .layer()
            .file("/srv/word", 0o644, word)
            .cmd(&["sh", "-c", "cat /srv/word; exec sleep inf"])
            .write_oci_layout(&layout, "image:v1")
            .expect("the directory is writable");
        format!("oci:{}:image:v1", layout.display())
    }

    /// `skopeo copy`, with the login and without TLS.
    pub fn copy(&self, from: &str, to: &str) -> Result<String, String> {
        let mut arguments = vec!["copy", "--insecure-policy"];
        if from.starts_with("docker://") {
            arguments.push("--src-tls-verify=false");
        }
        if to.starts_with("docker://") {
            arguments.push("--dest-tls-verify=false");
        }
        arguments.extend([from, to]);
        self.run("skopeo", &arguments)
    }

    /// podman with a store of its own.
    pub fn podman(&self, arguments: &[&str]) -> Result<String, String> {
        let (root, run) = (self.path("podman"), self.path("podman-run"));
        let (root, run) = (root.to_string_lossy(), run.to_string_lossy());
        let mut all = vec!["--root", &*root, "--runroot", &*run];
        all.extend(["--storage-driver", "vfs", "--events-backend", "file"]);
        all.extend(arguments);
        self.run("podman", &all)
    }

    /// Runs a client to its end; what it printed, or what it complained of.
    ///
    /// # Panics
    /// If the client is not there.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program} (./dev setup installs it): {error}"));
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(said(&output.stderr)),
        }
    }

    /// A client that finds the login and the mirror.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.directory.path());
        // Of podman; skopeo takes the second by option only.
        for (name, file) in [
            ("REGISTRY_AUTH_FILE", "auth.json"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
        ] {
            let path = self.path(file);
            if path.exists() {
                command.env(name, path);
            }
        }
        command
    }

    /// The digest of the only image in a layout.
    ///
    /// # Panics
    /// If it is no layout.
    pub fn digest(&self, layout: &str) -> String {
        let index = fs::read(self.path(layout).join("index.json")).expect("it is a layout");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("an index is JSON");
        let digest = index["manifests"][0]["digest"].as_str();
        digest.expect("an image has a digest").to_owned()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// Bytes that no compression makes shorter, the same every time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .map(|chunk| {
            let wide = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
            let bits = wide(0) << 16 | wide(1) << 8 | wide(2);
            (0..4)
                .map(|place| match place <= chunk.len() {
                    true => char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]),
                    false => '=',
                })
                .collect::<String>()
        })
        .collect()
}
