use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use mayfly_types::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A container image built in memory, written as OCI layout or docker archive.
///
/// ```no_run
/// # use mayfly_testing::TestImage;
/// let digest = TestImage::busybox()
///     .file("/www/index.html", 0o644, "hello")
///     .cmd(&["httpd", "-f", "-p", "8080", "-h", "/www"])
///     .write_oci_layout("/tmp/hello".as_ref(), "hello:latest")
///     .unwrap();
/// ```
#[derive(Clone, Default)]
pub struct TestImage {
    /// Lowest first; the last one is open.
    layers: Vec<Layer>,
    run: BTreeMap<&'static str, Value>,
    labels: BTreeMap<String, String>,
    env: Vec<String>,
}

#[derive(Clone)]
enum Layer {
    /// Entries without the end of an archive, which is added when the layer is written.
    Open(Vec<u8>),
    /// Written as it is.
    Raw(Vec<u8>),
}

impl TestImage {
    /// An image without files.
    pub fn empty() -> Self {
        let mut image = Self::default();
        image.env.push("PATH=/bin".to_owned());
        image.layer()
    }

    /// One layer with a static busybox, its applets in `/bin`, users `root` and `app` (1000), `/tmp`, `/proc`, `/sys`
    /// and `/dev`; runs `sh`.
    pub fn busybox() -> Self {
        let program = fs::read("/bin/busybox").expect("busybox-static is installed");
        let listed = Command::new("/bin/busybox").arg("--list").output();
        let applets = String::from_utf8(listed.expect("busybox runs").stdout).expect("ascii");
        let mut image = Self::empty()
            .directory("/bin", 0o755)
            .directory("/etc", 0o755)
            .directory("/dev", 0o755)
            .directory("/proc", 0o555)
            .directory("/sys", 0o555)
            .directory("/root", 0o700)
            .directory("/home/app", 0o755)
            .directory("/tmp", 0o1777)
            .file("/bin/busybox", 0o755, program)
            .file(
                "/etc/passwd",
                0o644,
                "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
            )
            .file(
                "/etc/group",
                0o644,
                "root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
            );
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            image = image.symlink(&format!("/bin/{applet}"), "busybox");
        }
        image.cmd(&["sh"])
    }

    /// What follows goes into a further layer.
    pub fn layer(mut self) -> Self {
        self.layers.push(Layer::Open(Vec::new()));
        self
    }

    /// A further layer from an uncompressed archive as it is, for crafted content.
    pub fn raw_layer(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(Layer::Raw(tar));
        self.layer()
    }

    pub fn directory(self, path: &str, mode: u32) -> Self {
        let mut header = header(tar::EntryType::Directory, mode);
        self.entry(&mut header, path, &[])
    }

    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        let mut header = header(tar::EntryType::Regular, mode);
        self.entry(&mut header, path, content.as_ref())
    }

    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        let mut header = header(tar::EntryType::Symlink, 0o777);
        header.set_size(0);
        append(self.open_layer(), |tar| {
            tar.append_link(&mut header, path.trim_start_matches('/'), target)
        });
        self
    }

    /// Removes what lower layers have at `path`.
    pub fn whiteout(self, path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        self.file(&format!("{parent}/.wh.{name}"), 0o600, "")
    }

    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.running("Entrypoint", json!(words))
    }

    pub fn cmd(self, words: &[&str]) -> Self {
        self.running("Cmd", json!(words))
    }

    pub fn user(self, user: &str) -> Self {
        self.running("User", json!(user))
    }

    pub fn workdir(self, path: &str) -> Self {
        self.running("WorkingDir", json!(path))
    }

    pub fn stop_signal(self, signal: &str) -> Self {
        self.running("StopSignal", json!(signal))
    }

    pub fn expose(self, port: &str) -> Self {
        self.running("ExposedPorts", json!({ port: {} }))
    }

    pub fn volume(self, path: &str) -> Self {
        self.running("Volumes", json!({ path: {} }))
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes an OCI layout with gzip layers into `directory`, which may hold other images already, under `name`;
    /// returns the manifest's digest.
    pub fn write_oci_layout(&self, directory: &Path, name: &str) -> Result<Digest> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let put = |bytes: &[u8], media_type: &str| -> Result<Value> {
            let digest = digest_of(bytes);
            fs::write(blobs.join(digest.hex()), bytes).context("write a blob")?;
            Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
        };
        let config = put(&self.config(), "application/vnd.oci.image.config.v1+json")?;
        let layers = self
            .archives()
            .map(|tar| put(&gzip(&tar), "application/vnd.oci.image.layer.v1.tar+gzip"));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers.collect::<Result<Vec<Value>>>()?,
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = put(&manifest, "application/vnd.oci.image.manifest.v1+json")?;
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index_path = directory.join("index.json");
        let mut entries: Vec<Value> = match fs::read(&index_path) {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes)?["manifests"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        entries.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(index_path, index.to_string())?;
        fs::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        Ok(digest_of(&manifest))
    }

    /// Writes an uncompressed tar of an OCI layout; returns the manifest's digest.
    pub fn write_oci_archive(&self, path: &Path, name: &str) -> Result<Digest> {
        let directory = tempfile::tempdir()?;
        let digest = self.write_oci_layout(directory.path(), name)?;
        let mut tar = tar::Builder::new(fs::File::create(path)?);
        tar.append_dir_all(".", directory.path())?;
        tar.into_inner()?.flush()?;
        Ok(digest)
    }

    /// Writes what `docker save` writes: `manifest.json`, the configuration and uncompressed layers.
    pub fn write_docker_archive(&self, path: &Path, name: &str) -> Result<()> {
        let mut tar = tar::Builder::new(fs::File::create(path)?);
        let mut put = |name: &str, bytes: &[u8]| {
            let mut header = header(tar::EntryType::Regular, 0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes)
        };
        let config = self.config();
        let config_name = format!("{}.json", digest_of(&config).hex());
        put(&config_name, &config)?;
        let mut layers = Vec::new();
        for archive in self.archives() {
            let layer = format!("{}/layer.tar", digest_of(&archive).hex());
            put(&layer, &archive)?;
            layers.push(layer);
        }
        let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": layers}]);
        put("manifest.json", manifest.to_string().as_bytes())?;
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn running(mut self, key: &'static str, value: Value) -> Self {
        self.run.insert(key, value);
        self
    }

    fn entry(mut self, header: &mut tar::Header, path: &str, content: &[u8]) -> Self {
        header.set_size(content.len() as u64);
        append(self.open_layer(), |tar| {
            tar.append_data(header, path.trim_start_matches('/'), content)
        });
        self
    }

    fn open_layer(&mut self) -> &mut Vec<u8> {
        match self.layers.last_mut() {
            Some(Layer::Open(entries)) => entries,
            _ => unreachable!("every image ends in an open layer"),
        }
    }

    fn archives(&self) -> impl Iterator<Item = Vec<u8>> {
        self.layers.iter().filter_map(|layer| match layer {
            Layer::Open(entries) if entries.is_empty() => None,
            Layer::Open(entries) => Some([entries.as_slice(), &[0; 1024]].concat()),
            Layer::Raw(bytes) => Some(bytes.clone()),
        })
    }

    fn config(&self) -> Vec<u8> {
        let mut run = json!(self.run);
        run["Env"] = json!(self.env);
        run["Labels"] = json!(self.labels);
        let diff_ids: Vec<Digest> = self.archives().map(|tar| digest_of(&tar)).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string()
        .into_bytes()
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header
}

fn append(
    archive: &mut Vec<u8>,
    entry: impl FnOnce(&mut tar::Builder<&mut Vec<u8>>) -> std::io::Result<()>,
) {
    let mut tar = tar::Builder::new(&mut *archive);
    entry(&mut tar).expect("memory takes every entry");
    // The end marker is written once, when the layer is.
    tar.into_inner().expect("memory takes the end");
    archive.truncate(archive.len() - 1024);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tools_read_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        let image = TestImage::busybox()
            .layer()
            .file("/www/index.html", 0o644, "hello");
        let digest = image.write_oci_layout(&layout, "hello:v1").unwrap();
        image.write_oci_layout(&layout, "hello:v2").unwrap();
        let inspect = |source: String| {
            let output = Command::new("skopeo")
                .args(["inspect", "--override-os=linux", &source])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let seen = inspect(format!("oci:{}:hello:v1", layout.display()));
        assert_eq!(seen["Digest"], digest.to_string());
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
        let archive = directory.path().join("image.tar");
        image.write_docker_archive(&archive, "hello:v1").unwrap();
        let seen = inspect(format!("docker-archive:{}", archive.display()));
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
        image.write_oci_archive(&archive, "hello:v1").unwrap();
        let seen = inspect(format!("oci-archive:{}", archive.display()));
        assert_eq!(seen["Digest"], digest.to_string());
    }
}
