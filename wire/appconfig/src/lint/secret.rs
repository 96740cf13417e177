use super::{Facts, Found};
use crate::config::AppConfig;

/// Ends of names that hold something secret.
const NAMES: [&str; 14] = [
    "SECRET",
    "SECRET_KEY",
    "SECRET_KEY_BASE",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "ENCRYPTION_KEY",
    "MASTER_KEY",
    "CREDENTIALS",
];

/// Beginnings of values that well-known services give out as keys.
const VALUES: [&str; 14] = [
    "FlyV1 ",
    "fm1_",
    "fm2_",
    "fo1_",
    "sk_live_",
    "sk-",
    "rk_live_",
    "ghp_",
    "gho_",
    "github_pat_",
    "xoxb-",
    "AKIA",
    "AIza",
    "-----BEGIN",
];

pub(super) fn secret_in_env(config: &AppConfig, _: &Facts, found: &mut Found) {
    for (name, value) in config.env() {
        if let Some(why) = looks_secret(name, value) {
            found.add(
                format!("env.{name}"),
                format!("{why}: the file is in the repository, and everybody who sees the configuration sees it"),
                format!("Take it out here and run `secrets set {name}=…`; machines see it under the same name."),
            );
        }
    }
}

fn looks_secret(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    let placeholder = value.len() < 6 || value.starts_with(['$', '<', '/']) || value.contains("{{");
    if VALUES.iter().any(|start| value.starts_with(start)) && value.len() > 12 {
        return Some("holds a key");
    }
    if has_password(value) {
        return Some("holds an address with a password");
    }
    let name = name.to_ascii_uppercase();
    let secret = NAMES.iter().any(|end| {
        name.strip_suffix(end)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    });
    let public = ["PUBLIC", "PUBLISHABLE"]
        .iter()
        .any(|word| name.contains(word));
    (secret && !public && !placeholder).then_some("is named like a secret")
}

/// `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
    let authority = value
        .split_once("://")
        .map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let user = authority.and_then(|authority| authority.rsplit_once('@'));
    let password = user.and_then(|(user, _)| user.split_once(':'));
    password.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
}

#[cfg(test)]
mod tests {
    use super::looks_secret;

    #[test]
    fn secrets_are_told_from_settings() {
        for (name, value, secret) in [
            ("STRIPE_SECRET_KEY", "abcdefgh", true),
            ("PASSWORD", "hunter22", true),
            ("DB", "postgres://app:pw@db.internal/app", true),
            ("DB", "postgres://db.internal/app", false),
            ("DB", "postgres://app:$PW@db.internal/app", false),
            ("AWS", "AKIAABCDEFGHIJKLMNOP", true),
            ("STRIPE_PUBLISHABLE_API_KEY", "pk_live_abcdef", false),
            ("TOKEN_TTL", "3600000", false),
            ("KEYBOARD", "qwertyuiop", false),
            ("SESSION_TOKEN", "x", false),
            ("JWT_PRIVATE_KEY", "/run/secrets/jwt.pem", false),
        ] {
            assert_eq!(
                looks_secret(name, value).is_some(),
                secret,
                "{name}={value}"
            );
        }
    }
}
