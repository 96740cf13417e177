use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mayfly_host_api::ExecRequest;
use mayfly_types::Secret;
use mayfly_wire::{Compression, StartBuild};

/// Where the cloud's registry is inside a builder machine.
pub const REGISTRY_AT_DOOR: &str = "127.0.0.1:5000";

const PROGRAM: &str = "/usr/lib/mayfly/build";
const DOCKERFILE_MAX: usize = 1 << 20;
const VALUES_MAX: usize = 256;
/// All arguments and labels together; the kernel takes no more of one program.
const ARGUMENTS_MAX: usize = 96 << 10;
const SECRET_MAX: usize = 512 << 10;
const TAG_MAX: usize = 128;
const LEVEL_MAX: u8 = 9;

/// A build that cannot be asked for: the field at fault and its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidBuild {
    pub field: String,
    pub rule: String,
}

/// Where a build's image goes.
#[derive(Clone, Debug)]
pub struct Push {
    /// In the cloud's registry.
    pub repository: String,
    pub tag: String,
}

/// One build as its builder machine is told.
#[derive(Debug)]
pub struct Order {
    /// The program that does it.
    pub exec: ExecRequest,
    /// What it reads before the context.
    pub preamble: Vec<u8>,
}

impl Order {
    /// `id` tells builds of one machine apart; `name` is what the newest image of it is called in the builder. `ticket` opens
    /// the registry: where the image goes, and the mirror of others.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn new(
        id: &str,
        name: &str,
        wanted: &StartBuild,
        push: Option<&Push>,
        ticket: &Secret,
    ) -> Result<Self, InvalidBuild> {
        check(wanted)?;
        let target = match push {
            Some(push) => format!("{REGISTRY_AT_DOOR}/{}:{}", push.repository, push.tag),
            None => "-".to_owned(),
        };
        let mut argv = vec![PROGRAM.to_owned(), id.to_owned(), target];
        let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
        option("--tag", format!("localhost/{name}:latest"));
        for (name, value) in &wanted.args {
            option("--build-arg", format!("{name}={value}"));
        }
        for (name, value) in &wanted.labels {
            option("--label", format!("{name}={value}"));
        }
        if let Some(stage) = &wanted.target {
            option("--target", stage.clone());
        }
        for (number, name) in wanted.secrets.keys().enumerate() {
            let source = format!("/run/builds/{id}/{}", secret_file(number));
            option("--secret", format!("id={name},src={source}"));
        }
        if wanted.no_cache {
            argv.push("--no-cache".to_owned());
        }
        let mut preamble = String::new();
        let mut file = |name: &str, content: &str| {
            writeln!(preamble, "file {name} {}", STANDARD.encode(content)).expect("memory");
        };
        file("Dockerfile", &wanted.dockerfile);
        for (number, secret) in wanted.secrets.values().enumerate() {
            file(&secret_file(number), secret.reveal());
        }
        let login = STANDARD.encode(format!("build:{}", ticket.reveal()));
        writeln!(preamble, "auth {login}").expect("memory");
        if let Some(compression) = wanted.compression {
            // Layers in zstd are of OCI's manifests only.
            let format = match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd --format oci",
            };
            writeln!(preamble, "push --compression-format {format}").expect("memory");
        }
        if let Some(level) = wanted.compression_level {
            writeln!(preamble, "push --compression-level {level}").expect("memory");
        }
        preamble.push_str("context\n");
        Ok(Order {
            exec: ExecRequest {
                argv,
                ..ExecRequest::default()
            },
            preamble: preamble.into_bytes(),
        })
    }
}

fn secret_file(number: usize) -> String {
    format!("secret-{number}")
}

fn check(wanted: &StartBuild) -> Result<(), InvalidBuild> {
    let refuse = |field: &str, rule: String| {
        Err(InvalidBuild {
            field: field.to_owned(),
            rule,
        })
    };
    if wanted.dockerfile.trim().is_empty() {
        return refuse("dockerfile", "it is empty".to_owned());
    }
    if wanted.dockerfile.len() > DOCKERFILE_MAX {
        return refuse("dockerfile", format!("at most {DOCKERFILE_MAX} bytes"));
    }
    let mut length = 0;
    for (field, values) in [("args", &wanted.args), ("labels", &wanted.labels)] {
        length += check_names(field, values)?;
    }
    if length > ARGUMENTS_MAX {
        return refuse("args", format!("with labels at most {ARGUMENTS_MAX} bytes"));
    }
    if wanted.secrets.len() > VALUES_MAX {
        return refuse("secrets", format!("at most {VALUES_MAX}"));
    }
    for (name, secret) in &wanted.secrets {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || !name.bytes().all(known) {
            return refuse(
                &format!("secrets.{name}"),
                "use letters, digits, _, . and -".to_owned(),
            );
        }
        if secret.reveal().len() > SECRET_MAX {
            return refuse(
                &format!("secrets.{name}"),
                format!("at most {SECRET_MAX} bytes"),
            );
        }
    }
    if let Some(stage) = &wanted.target
        && (stage.is_empty() || stage.starts_with('-') || stage.contains(char::is_whitespace))
    {
        return refuse("target", "name or number of a stage".to_owned());
    }
    if wanted
        .compression_level
        .is_some_and(|level| level > LEVEL_MAX)
    {
        return refuse("compression_level", format!("from 0 to {LEVEL_MAX}"));
    }
    if let Some(tag) = &wanted.tag {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if tag.is_empty()
            || tag.len() > TAG_MAX
            || tag.starts_with(['.', '-'])
            || !tag.bytes().all(known)
        {
            return refuse(
                "tag",
                format!("use 1 to {TAG_MAX} letters, digits, _, . and -, not . or - first"),
            );
        }
    }
    Ok(())
}

/// The length of all names and values.
fn check_names(field: &str, values: &BTreeMap<String, String>) -> Result<usize, InvalidBuild> {
    let refuse = |field: String, rule: String| Err(InvalidBuild { field, rule });
    if values.len() > VALUES_MAX {
        return refuse(field.to_owned(), format!("at most {VALUES_MAX}"));
    }
    let mut length = 0;
    for (name, value) in values {
        if name.is_empty() || name.contains(['=', '\0', '\n']) || value.contains('\0') {
            return refuse(
                format!("{field}.{name}"),
                "a name without = or line end, and a value without NUL".to_owned(),
            );
        }
        length += name.len() + value.len();
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> StartBuild {
        StartBuild {
            dockerfile: "FROM scratch\n".to_owned(),
            ..StartBuild::default()
        }
    }

    #[test]
    fn secrets_are_no_arguments() {
        let mut build = wanted();
        build.secrets.insert("npm".into(), Secret::new("canary"));
        build.args.insert("V".into(), "1 2".into());
        build.target = Some("run".into());
        build.no_cache = true;
        let push = Push {
            repository: "web".into(),
            tag: "v1".into(),
        };
        let ticket = Secret::new("ticket");
        let order = Order::new("b1", "web", &build, Some(&push), &ticket).unwrap();
        assert_eq!(
            order.exec.argv.join(" "),
            "/usr/lib/mayfly/build b1 127.0.0.1:5000/web:v1 --tag localhost/web:latest --build-arg V=1 2 --target run \
             --secret id=npm,src=/run/builds/b1/secret-0 --no-cache"
        );
        let preamble = String::from_utf8(order.preamble).unwrap();
        assert_eq!(
            preamble,
            format!(
                "file Dockerfile {}\nfile secret-0 {}\nauth {}\ncontext\n",
                STANDARD.encode("FROM scratch\n"),
                STANDARD.encode("canary"),
                STANDARD.encode("build:ticket")
            )
        );
        build.compression = Some(Compression::Zstd);
        build.compression_level = Some(3);
        let order = Order::new("b1", "web", &build, None, &ticket).unwrap();
        assert_eq!(order.exec.argv[2], "-");
        let preamble = String::from_utf8(order.preamble).unwrap();
        assert!(
            preamble.ends_with(
                "\npush --compression-format zstd --format oci\npush --compression-level 3\ncontext\n"
            ),
            "{preamble}"
        );
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        type Change = fn(&mut StartBuild);
        let cases: [(Change, &str); 10] = [
            (|build| build.dockerfile = " \n".into(), "dockerfile"),
            (
                |build| build.dockerfile = "x".repeat(DOCKERFILE_MAX + 1),
                "dockerfile",
            ),
            (
                |build| drop(build.args.insert("A=B".into(), String::new())),
                "args.A=B",
            ),
            (
                |build| drop(build.args.insert("A".into(), "x".repeat(ARGUMENTS_MAX))),
                "args",
            ),
            (
                |build| drop(build.labels.insert(String::new(), String::new())),
                "labels.",
            ),
            (
                |build| drop(build.secrets.insert("a,src=/x".into(), Secret::new(""))),
                "secrets.a,src=/x",
            ),
            (|build| build.target = Some("--privileged".into()), "target"),
            (|build| build.tag = Some("a/b".into()), "tag"),
            (|build| build.tag = Some(String::new()), "tag"),
            (
                |build| build.compression_level = Some(LEVEL_MAX + 1),
                "compression_level",
            ),
        ];
        for (change, field) in cases {
            let mut build = wanted();
            change(&mut build);
            let refused = Order::new("b", "web", &build, None, &Secret::new("")).unwrap_err();
            assert_eq!(refused.field, field);
        }
    }
}
