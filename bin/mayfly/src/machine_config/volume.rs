use serde_json::{Value, json};

use super::MachineConfig;
use crate::failure::Failure;

/// What may follow the path, apart from a size.
const OPTIONS: [&str; 3] = ["extend_threshold_percent", "add_size_gb", "size_gb_limit"];

/// Sets the machine's mount; a machine has one at most.
pub(super) fn apply(config: &mut MachineConfig, given: &[String]) -> anyhow::Result<()> {
    let word = match given {
        [] => return Ok(()),
        [word] => word,
        _ => return Err(Failure::new("--volume: a machine has one volume at most").into()),
    };
    let wrong = |why: &str| {
        Failure::new(format!("--volume {word}: {why}"))
            .remedy("Say it as in --volume data:/data, or --volume data:/data:3 for a new one of 3 GB if none is free.")
    };
    let mut parts = word.splitn(3, ':');
    let (volume, path) = (parts.next().unwrap_or_default(), parts.next());
    let path = path.filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| wrong("says not where in the machine it is mounted"))?;
    let key = if volume.starts_with("vol_") {
        "volume"
    } else {
        "name"
    };
    let mut mount = json!({ key: volume, "path": path });
    for option in parts.next().into_iter().flat_map(|rest| rest.split(',')) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) if OPTIONS.contains(&name) => (name, value),
            Some((name @ ("size" | "size_gb"), value)) if !name.is_empty() => ("size_gb", value),
            Some((name, _)) => return Err(wrong(&format!("has no option {name}")).into()),
            None => ("size_gb", option),
        };
        let number = value.to_lowercase();
        let number = number.trim_end_matches("gb");
        let number: i64 = number
            .parse()
            .map_err(|_| wrong(&format!("{value} is no number")))?;
        mount[name] = Value::from(number);
    }
    config.insert("mounts".to_owned(), json!([mount]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_they_are_written() {
        for (given, mount) in [
            ("data:/data", json!({"name": "data", "path": "/data"})),
            (
                "vol_abc:/data",
                json!({"volume": "vol_abc", "path": "/data"}),
            ),
            (
                "data:/data:3gb",
                json!({"name": "data", "path": "/data", "size_gb": 3}),
            ),
            (
                "data:/d:size=2,extend_threshold_percent=80,add_size_gb=1,size_gb_limit=9",
                json!({"name": "data", "path": "/d", "size_gb": 2, "extend_threshold_percent": 80,
                       "add_size_gb": 1, "size_gb_limit": 9}),
            ),
        ] {
            let mut config = MachineConfig::new();
            apply(&mut config, &[given.to_owned()]).unwrap();
            assert_eq!(config["mounts"], json!([mount]), "{given}");
        }
        for wrong in ["data", "data:data", "data:/data:x", "data:/data:a=1"] {
            let refused = apply(&mut MachineConfig::new(), &[wrong.to_owned()]);
            assert!(refused.is_err(), "{wrong}");
        }
    }
}
