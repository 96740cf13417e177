use std::collections::BTreeSet;

use mayfly_machine::{Condition, ContainerSpec, Dependency};

use super::field::{At, InvalidConfig, absent_if_empty};
use super::{health, process};
use crate::config::{Container, MachineConfig, Process};

pub(super) fn containers(
    config: &MachineConfig,
    at: &At,
) -> Result<Vec<ContainerSpec>, InvalidConfig> {
    let given = config.containers.as_deref().unwrap_or_default();
    let volumes: BTreeSet<&str> = config
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| volume.name.as_deref())
        .collect();
    let at = at.field("containers");
    let mut read: Vec<ContainerSpec> = Vec::with_capacity(given.len());
    for (index, container) in given.iter().enumerate() {
        let at = at.index(index);
        mounts(container, &volumes, &at)?;
        let container = self::container(container, &at)?;
        if read.iter().any(|other| other.name == container.name) {
            return at.field("name").refuse(format!(
                "must be unique: {:?} is there twice",
                container.name
            ));
        }
        read.push(container);
    }
    check_dependencies(&read, &at)?;
    Ok(read)
}

fn container(container: &Container, at: &At) -> Result<ContainerSpec, InvalidConfig> {
    let name = container.name.clone().unwrap_or_default();
    let holds = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !holds {
        return at.field("name").refuse(
            "must be 1 to 63 letters, digits, -, _ and ., beginning with a letter or digit",
        );
    }
    let program = Process {
        exec: container.exec.clone(),
        entrypoint: container.entrypoint.clone(),
        cmd: container.cmd.clone(),
        user: container.user.clone(),
        env: container.env.clone(),
        secrets: container.secrets.clone(),
        env_from: container.env_from.clone(),
        ignore_app_secrets: None,
    };
    Ok(ContainerSpec {
        name,
        image: super::image(container.image.as_ref(), &at.field("image"))?,
        process: process::process(&program, at)?,
        files: process::files(container.files.as_deref(), &at.field("files"))?,
        restart: super::restart(container.restart.as_ref(), &at.field("restart"))?,
        stop: super::stop(container.stop.as_ref(), &at.field("stop"))?,
        depends_on: dependencies(container, &at.field("depends_on"))?,
        healthchecks: health::healthchecks(
            container.healthchecks.as_deref(),
            &at.field("healthchecks"),
        )?,
    })
}

fn dependencies(container: &Container, at: &At) -> Result<Vec<Dependency>, InvalidConfig> {
    let given = container.depends_on.iter().flatten().enumerate();
    given
        .map(|(index, dependency)| {
            let at = at.index(index);
            let Some(name) = absent_if_empty(dependency.name.as_ref()) else {
                return at
                    .field("name")
                    .refuse("is required: the name of a container");
            };
            let condition = match dependency.condition.as_deref() {
                None | Some("" | "started") => Condition::Started,
                Some("healthy") => Condition::Healthy,
                Some("exited_successfully") => Condition::ExitedSuccessfully,
                Some(_) => {
                    return at.field("condition").one_of(&[
                        "started",
                        "healthy",
                        "exited_successfully",
                    ]);
                }
            };
            Ok(Dependency {
                name: name.clone(),
                condition,
            })
        })
        .collect()
}

fn mounts(container: &Container, volumes: &BTreeSet<&str>, at: &At) -> Result<(), InvalidConfig> {
    for (index, mount) in container.mounts.iter().flatten().enumerate() {
        let at = at.field("mounts").index(index);
        at.field("path").absolute_path(mount.path.as_ref())?;
        if !mount
            .name
            .as_deref()
            .is_some_and(|name| volumes.contains(name))
        {
            return at
                .field("name")
                .refuse("must be the name of an entry of config.volumes");
        }
    }
    Ok(())
}

/// Holds that dependencies exist, can come true, and do not go round in a circle.
fn check_dependencies(containers: &[ContainerSpec], at: &At) -> Result<(), InvalidConfig> {
    let find = |name: &str| containers.iter().position(|other| other.name == name);
    for (index, container) in containers.iter().enumerate() {
        for (place, dependency) in container.depends_on.iter().enumerate() {
            let at = at.index(index).field("depends_on").index(place);
            let Some(other) = find(&dependency.name) else {
                let names: Vec<&str> = containers.iter().map(|other| other.name.as_str()).collect();
                return at.field("name").refuse(format!(
                    "must be one of the containers {}",
                    names.join(", ")
                ));
            };
            if dependency.condition == Condition::Healthy
                && containers[other].healthchecks.is_empty()
            {
                return at.field("condition").refuse(format!(
                    "cannot be \"healthy\": container {:?} has no healthchecks",
                    dependency.name
                ));
            }
        }
    }
    // Taking away whatever waits for nobody that is left leaves exactly the circles.
    let mut left: Vec<usize> = (0..containers.len()).collect();
    loop {
        let before = left.len();
        let waiting = left.clone();
        left.retain(|index| {
            let mut needs = containers[*index].depends_on.iter();
            needs.any(|need| find(&need.name).is_some_and(|other| waiting.contains(&other)))
        });
        if left.is_empty() {
            return Ok(());
        }
        if left.len() == before {
            let names: Vec<&str> = left.iter().map(|i| containers[*i].name.as_str()).collect();
            return at.index(left[0]).field("depends_on").refuse(format!(
                "must not go round in a circle: {} wait for each other",
                names.join(", ")
            ));
        }
    }
}
