//! `trust`: has this computer trust the certificates of a cloud's own authority.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Trust the certificates of the cloud's own authority on this computer
///
/// Installs the authority's root in the system's store (for curl and most programs) and, where certutil is present, in
/// the stores of Chromium and Firefox of this user. Whoever has the root's key can pretend to be any site to this
/// computer: trust a cloud that you run or whose operator you trust.
#[derive(Args, Debug)]
pub(crate) struct Trust {
    /// Take the root out again
    #[arg(long, conflicts_with = "print")]
    remove: bool,
    /// Only print the root, in PEM form
    #[arg(long)]
    print: bool,
}

/// Where Debian and its relatives keep roots of the administrator's own.
const SYSTEM_ROOTS: &str = "/usr/local/share/ca-certificates";

impl Trust {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let root = context.api()?.root_certificate().await?;
        if self.print {
            return Ok(context.out.text(&root)?);
        }
        let name = format!("mayfly-{}", mark(&root)?);
        let system = System {
            file: Path::new(SYSTEM_ROOTS).join(format!("{name}.crt")),
        };
        let stores = nss_stores();
        let mut lines = Vec::new();
        if self.remove {
            lines.push(system.remove()?);
            for store in &stores {
                lines.push(store.remove(&name)?);
            }
        } else {
            lines.push(system.install(&root)?);
            for store in &stores {
                lines.push(store.install(&name, &root)?);
            }
            if stores.is_empty() {
                lines.push(no_browser_note());
            }
        }
        lines.iter().try_for_each(|line| context.out.line(line))?;
        Ok(())
    }
}

/// The first bytes of the certificate's digest: two clouds' roots have different names.
fn mark(root: &str) -> anyhow::Result<String> {
    let body: String = root
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = STANDARD
        .decode(body)
        .ok()
        .filter(|der| !der.is_empty())
        .context("the cloud's answer is no certificate")?;
    // The end of a certificate is its signature, which no two have in common.
    let tail = &der[der.len().saturating_sub(4)..];
    Ok(tail.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The store most programs use.
struct System {
    file: PathBuf,
}

impl System {
    fn install(&self, root: &str) -> anyhow::Result<String> {
        let file = self.file.display();
        if fs::read_to_string(&self.file).is_ok_and(|known| known == root) {
            return Ok(format!("The system trusts this cloud already ({file})."));
        }
        let directory = self.file.parent().expect("a file lies in a directory");
        if !directory.is_dir() {
            return Err(Failure::new(format!("{} does not exist on this system", directory.display()))
                .remedy(format!(
                    "Save the root with `{} trust --print > root.pem` and install it by your system's own means.",
                    crate::program::name()
                ))
                .into());
        }
        fs::write(&self.file, root).map_err(|error| needs_root(error, &self.file))?;
        update_system()?;
        Ok(format!("The system trusts this cloud now ({file})."))
    }

    fn remove(&self) -> anyhow::Result<String> {
        match fs::remove_file(&self.file) {
            Ok(()) => {
                update_system()?;
                Ok(format!(
                    "The system no longer trusts this cloud ({} removed).",
                    self.file.display()
                ))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok("The system did not trust this cloud.".to_owned())
            }
            Err(error) => Err(needs_root(error, &self.file)),
        }
    }
}

fn needs_root(error: io::Error, file: &Path) -> anyhow::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failure::new(format!(
            "the system's store needs root to change {}",
            file.display()
        ))
        .remedy(format!(
            "Run it again with sudo: `sudo -E {} trust`.",
            crate::program::name()
        ))
        .into();
    }
    anyhow::Error::new(error).context(format!("change {}", file.display()))
}

fn update_system() -> anyhow::Result<()> {
    let output = Command::new("update-ca-certificates")
        .output()
        .context("run update-ca-certificates (package ca-certificates)")?;
    anyhow::ensure!(
        output.status.success(),
        "update-ca-certificates failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A store in the format of Mozilla's libraries, which Chromium and Firefox read.
struct NssStore {
    directory: PathBuf,
    browser: &'static str,
}

fn has_certutil() -> bool {
    // Without arguments it only tells how it is used.
    Command::new("certutil").output().is_ok()
}

fn nss_stores() -> Vec<NssStore> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Vec::new();
    };
    if !has_certutil() {
        return Vec::new();
    }
    let mut stores = Vec::new();
    let shared = home.join(".pki/nssdb");
    if shared.is_dir() {
        stores.push(NssStore {
            directory: shared,
            browser: "Chromium",
        });
    }
    for profiles in [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox"] {
        let entries = fs::read_dir(home.join(profiles))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|entry| entry.path().join("cert9.db").is_file()) {
            stores.push(NssStore {
                directory: entry.path(),
                browser: "Firefox",
            });
        }
    }
    stores
}

fn no_browser_note() -> String {
    if has_certutil() {
        "No browser store was found for this user; browsers that use the system's store need none."
            .to_owned()
    } else {
        "Browsers with stores of their own were not touched: install certutil (package libnss3-tools) and run this \
         again."
            .to_owned()
    }
}

impl NssStore {
    fn certutil(&self, arguments: &[&str]) -> anyhow::Result<bool> {
        let output = Command::new("certutil")
            .arg("-d")
            .arg(format!("sql:{}", self.directory.display()))
            .args(arguments)
            .output()
            .context("run certutil")?;
        Ok(output.status.success())
    }

    fn install(&self, name: &str, root: &str) -> anyhow::Result<String> {
        let file = std::env::temp_dir().join(format!("{name}-{}.pem", std::process::id()));
        fs::write(&file, root).with_context(|| format!("write {}", file.display()))?;
        let path = file.display().to_string();
        let added = self.certutil(&["-A", "-t", "C,,", "-n", name, "-i", &path]);
        fs::remove_file(&file).ok();
        anyhow::ensure!(
            added?,
            "certutil could not add to {}",
            self.directory.display()
        );
        Ok(format!(
            "{} trusts this cloud now ({}).",
            self.browser,
            self.directory.display()
        ))
    }

    fn remove(&self, name: &str) -> anyhow::Result<String> {
        let removed = self.certutil(&["-D", "-n", name])?;
        let place = self.directory.display();
        Ok(match removed {
            true => format!("{} no longer trusts this cloud ({place}).", self.browser),
            false => format!("{} did not trust this cloud ({place}).", self.browser),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_told_apart_by_their_end() {
        let pem = |der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        assert_eq!(
            mark(&pem(&[1, 2, 0xab, 0xcd, 0xef, 0x01])).unwrap(),
            "abcdef01"
        );
        assert!(mark("hello").is_err());
        assert!(mark("").is_err());
    }
}
