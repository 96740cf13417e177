use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use clap::Args;
use mayfly_appconfig::Build;
use mayfly_types::Secret;
use mayfly_wire::{Compression, StartBuild};

use super::local_engine::Engine;
use crate::failure::Failure;

/// How an image is built from sources.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Building")]
pub(crate) struct BuildFlags {
    /// The Dockerfile, if it is not the one beside the configuration
    #[arg(long, value_name = "PATH")]
    pub(super) dockerfile: Option<PathBuf>,
    /// The file that says what to leave out, instead of .dockerignore
    #[arg(long, value_name = "PATH")]
    pub(super) ignorefile: Option<PathBuf>,
    /// Where there is no .dockerignore, write one with the rules of all .gitignore files
    #[arg(long)]
    pub(super) dockerignore_from_gitignore: bool,
    /// Set an argument of the Dockerfile; a name alone takes its value from the environment. May be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) build_arg: Vec<String>,
    /// Show a secret to steps that mount it by this id; it is kept nowhere. May be given more than once
    #[arg(long, value_name = "ID=VALUE")]
    pub(super) build_secret: Vec<String>,
    /// The stage to build, instead of the last
    #[arg(long, value_name = "STAGE")]
    pub(super) build_target: Option<String>,
    /// Add a label to the image. May be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) label: Vec<String>,
    /// Run every step again
    #[arg(long)]
    pub(super) no_cache: bool,
    /// How the pushed layers are compressed: gzip, as without this, or zstd
    #[arg(long, value_name = "KIND", value_parser = ["gzip", "zstd"])]
    pub(super) compression: Option<String>,
    /// From 0 to 9: more is smaller and slower
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(super) compression_level: Option<u8>,
    /// The tag of the image in the app's repository
    #[arg(long, value_name = "TAG")]
    pub(super) image_label: Option<String>,
    /// Build, and deploy nothing
    #[arg(long)]
    pub(crate) build_only: bool,
    /// With --build-only: push the image to the app's repository
    #[arg(long)]
    pub(super) push: bool,
    /// Build with Docker or Podman on this computer
    #[arg(long, env = "FLY_LOCAL_ONLY", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue, conflicts_with = "remote_only")]
    pub(super) local_only: bool,
    /// Build in the organization's builder machine, as is done without this too
    #[arg(long, env = "FLY_REMOTE_ONLY", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(super) remote_only: bool,
    /// Build with Nixpacks
    #[arg(long, hide = true)]
    pub(super) nixpacks: bool,
    /// Build with this buildpacks builder
    #[arg(long, hide = true, value_name = "IMAGE")]
    pub(super) builder: Option<String>,
    /// Build with these buildpacks
    #[arg(long, hide = true, value_name = "IMAGE")]
    pub(super) buildpack: Vec<String>,
    /// Builders of other kinds, which this cloud has no use for
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    pub(super) depot: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    pub(super) wg: Option<Option<String>>,
    #[arg(long, hide = true)]
    pub(super) buildkit: bool,
    /// A server with an engine of one's own, which this cloud does not ask
    #[arg(
        long,
        hide = true,
        value_name = "ADDRESS",
        env = "BUILDKIT_ADDR",
        hide_env = true
    )]
    pub(super) buildkit_addr: Option<String>,
    #[arg(long, hide = true, value_name = "IMAGE")]
    pub(super) buildkit_image: Option<String>,
    #[arg(long, hide = true, value_name = "SCOPE")]
    pub(super) depot_scope: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    pub(super) builder_pool: Option<Option<String>>,
    /// Make the builder anew, which loses its cache
    #[arg(long, hide = true)]
    pub(super) recreate_builder: bool,
    #[arg(long, hide = true, value_name = "HOST")]
    pub(super) buildpacks_docker_host: Option<String>,
    #[arg(long, hide = true, value_name = "VOLUME")]
    pub(super) buildpacks_volume: Vec<String>,
}

impl BuildFlags {
    /// Whether something was said that only makes sense for sources.
    pub(crate) fn wants_build(&self) -> bool {
        self.build_only
            || self.dockerfile.is_some()
            || self.build_target.is_some()
            || !self.build_arg.is_empty()
    }

    /// Ways to build that there are elsewhere.
    pub(super) fn refuse_others(&self, section: &Build) -> anyhow::Result<()> {
        let buildpacks = section.builder.is_some()
            || section
                .buildpacks
                .as_ref()
                .is_some_and(|list| !list.is_empty())
            || self.builder.is_some()
            || !self.buildpack.is_empty()
            || self.buildpacks_docker_host.is_some()
            || !self.buildpacks_volume.is_empty();
        let has_dockerfile = section.dockerfile.is_some() || self.dockerfile.is_some();
        let what = match (
            self.nixpacks,
            buildpacks && !has_dockerfile,
            &section.builtin,
        ) {
            (true, ..) => "Nixpacks",
            (_, true, _) => "buildpacks",
            (.., Some(_)) if !has_dockerfile => "a builtin of [build]",
            _ => return Ok(()),
        };
        Err(
            Failure::new(format!("{what} cannot be built here: this cloud builds Dockerfiles"))
                .remedy(
                    "Let `launch` write a Dockerfile for the sources and take builder, buildpacks and builtin out of \
                     [build]. Or build the image with the tool of your choice (`pack build`, `nixpacks build`), push it \
                     with docker, and name it: deploy --image IMAGE.",
                )
                .into(),
        )
    }

    /// What was asked for and makes no difference here, and why.
    pub(super) fn notes(&self) -> Vec<String> {
        let chosen = |value: &Option<Option<String>>| match value {
            None => false,
            Some(choice) => choice.as_deref() != Some("false"),
        };
        let others = [
            ("--depot", chosen(&self.depot)),
            ("--depot-scope", self.depot_scope.is_some()),
            ("--buildkit", self.buildkit),
            ("--buildkit-addr", self.buildkit_addr.is_some()),
            ("--buildkit-image", self.buildkit_image.is_some()),
            ("--builder-pool", chosen(&self.builder_pool)),
            ("--wg", chosen(&self.wg)),
        ];
        let mut notes: Vec<String> = others
            .iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| {
                format!("Note: {flag} makes no difference: images are built in the organization's builder machine.")
            })
            .collect();
        if self.recreate_builder {
            notes.push(
                "Note: --recreate-builder makes no difference. `apps list` shows the organization's builder; after `apps \
                 destroy` of it the next build makes another, without its cache."
                    .to_owned(),
            );
        }
        if self.local_only && (self.compression.is_some() || self.compression_level.is_some()) {
            notes.push(
                "Note: --compression makes no difference with --local-only: the engine of this computer decides."
                    .to_owned(),
            );
        }
        notes
    }

    /// The engine of this computer, if it was asked for.
    pub(super) fn local_engine(&self) -> anyhow::Result<Option<Engine>> {
        match self.local_only {
            false => Ok(None),
            true => Engine::find().map(Some),
        }
    }

    /// The build as the cloud is asked for it; flags go before the configuration.
    pub(super) fn order(&self, section: &Build, dockerfile: String) -> anyhow::Result<StartBuild> {
        let mut args = section.args.clone().unwrap_or_default();
        for text in &self.build_arg {
            match text.split_once('=') {
                Some((name, value)) => drop(args.insert(name.to_owned(), value.to_owned())),
                // As docker: without a value there is no argument either.
                None => {
                    if let Ok(value) = env::var(text) {
                        args.insert(text.clone(), value);
                    }
                }
            }
        }
        let secrets = pairs("--build-secret", &self.build_secret)?;
        let pushed = !self.build_only || self.push;
        let tag = self.image_label.clone().unwrap_or_else(fresh_tag);
        Ok(StartBuild {
            dockerfile,
            target: self
                .build_target
                .clone()
                .or_else(|| section.build_target.clone()),
            args,
            secrets: secrets
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            labels: pairs("--label", &self.label)?,
            no_cache: self.no_cache,
            tag: Some(tag).filter(|_| pushed),
            compression: self.compression(section),
            compression_level: self.compression_level.or_else(|| {
                let level = section.compression_level?;
                u8::try_from(level).ok()
            }),
        })
    }
}

impl BuildFlags {
    /// Both places were checked for what is allowed.
    fn compression(&self, section: &Build) -> Option<Compression> {
        let named = self.compression.as_ref().or(section.compression.as_ref());
        named.map(|name| match name.as_str() {
            "zstd" => Compression::Zstd,
            _ => Compression::Gzip,
        })
    }
}

fn pairs(flag: &str, texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            // The text may be a secret.
            Failure::new(format!("{flag}: a value is missing"))
                .remedy(format!("Write it as {flag} NAME=VALUE."))
        })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// `deployment-` and a ULID, as upstream tags images: <https://github.com/ulid/spec>.
fn fresh_tag() -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the kernel has random bytes");
    let time = u128::from(jiff::Timestamp::now().as_millisecond().unsigned_abs());
    let chance = random
        .iter()
        .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    let bits = time << 80 | chance;
    let digit = |place: usize| {
        let index = usize::try_from(bits >> (5 * place) & 31).expect("below 32");
        char::from(DIGITS[index])
    };
    let ulid: String = (0..26).rev().map(digit).collect();
    format!("deployment-{ulid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_configuration() {
        let flags = BuildFlags {
            build_arg: vec!["A=1=2".into(), "MAYFLY_NOT_SET_ANYWHERE".into()],
            build_secret: vec!["npm=top=secret".into()],
            image_label: Some("v42".into()),
            compression: Some("zstd".into()),
            ..BuildFlags::default()
        };
        let section = Build {
            args: Some(BTreeMap::from([
                ("A".to_owned(), "0".to_owned()),
                ("B".to_owned(), "3".to_owned()),
            ])),
            build_target: Some("run".into()),
            compression: Some("gzip".into()),
            compression_level: Some(3),
            ..Build::default()
        };
        let order = flags.order(&section, "FROM x".into()).unwrap();
        let args: Vec<_> = order
            .args
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(args, ["A=1=2", "B=3"]);
        assert_eq!(order.secrets["npm"].reveal(), "top=secret");
        assert_eq!(order.target.as_deref(), Some("run"));
        assert_eq!(order.tag.as_deref(), Some("v42"));
        assert_eq!(order.compression, Some(Compression::Zstd));
        assert_eq!(order.compression_level, Some(3));
        let only = BuildFlags {
            build_only: true,
            ..BuildFlags::default()
        };
        assert_eq!(only.order(&section, String::new()).unwrap().tag, None);
        let bad = BuildFlags {
            build_secret: vec!["hunter2".into()],
            ..BuildFlags::default()
        };
        let refused = bad.order(&section, String::new()).unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn other_ways_to_build_are_refused() {
        let refused = |flags: BuildFlags, section: Build| flags.refuse_others(&section).is_err();
        let builder = || Build {
            builder: Some("heroku/builder:24".into()),
            ..Build::default()
        };
        assert!(refused(BuildFlags::default(), builder()));
        assert!(!refused(BuildFlags::default(), Build::default()));
        let named = Build {
            dockerfile: Some("Dockerfile".into()),
            ..builder()
        };
        assert!(!refused(BuildFlags::default(), named));
        let nixpacks = BuildFlags {
            nixpacks: true,
            ..BuildFlags::default()
        };
        assert!(refused(nixpacks, Build::default()));
    }

    #[test]
    fn what_makes_no_difference_is_said() {
        let flags = BuildFlags {
            depot: Some(Some("false".into())),
            wg: Some(None),
            recreate_builder: true,
            ..BuildFlags::default()
        };
        let notes = flags.notes();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("--wg") && notes[1].contains("apps destroy"));
        assert!(BuildFlags::default().notes().is_empty());
    }

    #[test]
    fn tags_are_ulids_in_order() {
        let (first, second) = (fresh_tag(), fresh_tag());
        assert_eq!(first.len(), "deployment-".len() + 26);
        assert_ne!(first, second);
        assert!(first[..19] <= second[..19]);
    }
}
