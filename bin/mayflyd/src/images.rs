use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mayfly_host_api::RegistryLogin;
use mayfly_image::{RegistryConfig, StoreConfig};
use mayfly_types::Secret;
use serde::Deserialize;

use crate::config::some_duration;

/// The file's `[images]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ImagesSection {
    ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "some_duration")]
    pub(crate) unused_kept: Option<Duration>,
    logins: BTreeMap<String, LoginSection>,
    registries: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginSection {
    username: String,
    password_file: PathBuf,
}

/// How images are fetched; passwords are read now, so that a wrong path is found at the start.
pub(crate) fn store_config(section: ImagesSection) -> anyhow::Result<StoreConfig> {
    if let Some(path) = &section.ca_file {
        std::fs::metadata(path)
            .with_context(|| format!("read images.ca_file {}", path.display()))?;
    }
    let mut logins = BTreeMap::new();
    for (registry, login) in section.logins {
        let path = login.password_file;
        let password = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "read images.logins.\"{registry}\".password_file {}",
                path.display()
            )
        })?;
        let login = RegistryLogin {
            username: login.username,
            password: Secret::new(password.trim_end_matches(['\r', '\n'])),
        };
        logins.insert(registry, login);
    }
    let mut registries = BTreeMap::new();
    for (registry, url) in section.registries {
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        anyhow::ensure!(
            host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '@'])),
            "images.registries.\"{registry}\" must be http:// or https:// and a host, such as https://mirror.example.com"
        );
        registries.insert(registry, RegistryConfig { base_url: url });
    }
    Ok(StoreConfig {
        registries,
        ca_file: section.ca_file,
        logins,
        ..StoreConfig::default()
    })
}
