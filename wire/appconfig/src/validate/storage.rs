use crate::config::AppConfig;
use crate::machine::is_base64;
use crate::problem::Problem;

pub(super) fn check(config: &AppConfig, problems: &mut Vec<Problem>) {
    mounts(config, problems);
    files(config, problems);
}

fn mounts(config: &AppConfig, problems: &mut Vec<Problem>) {
    let mounts = || config.mounts.iter().flatten().enumerate();
    for (index, mount) in mounts() {
        let at = |key: &str| format!("mounts[{index}].{key}");
        if mount.source.as_deref().is_none_or(|name| name.is_empty()) {
            problems.push(Problem::error(
                at("source"),
                "is required: the name of the volume",
            ));
        }
        match mount.destination.as_deref() {
            None | Some("") => {
                problems.push(Problem::error(
                    at("destination"),
                    "is required: a path such as /data",
                ));
            }
            Some(path) if !path.starts_with('/') || path.trim_end_matches('/').is_empty() => {
                problems.push(Problem::error(
                    at("destination"),
                    format!("must be an absolute path below /; got \"{path}\""),
                ));
            }
            Some(_) => {}
        }
        let grows = [
            (
                "auto_extend_size_threshold",
                mount.auto_extend_size_threshold.is_some(),
            ),
            (
                "auto_extend_size_increment",
                mount.auto_extend_size_increment.is_some(),
            ),
        ];
        if let [(_, true), (missing, false)] | [(missing, false), (_, true)] = grows {
            problems.push(Problem::error(
                at(missing),
                "is required: a volume grows by an increment once its use passes a threshold",
            ));
        }
        if let (Some(limit), size) = (mount.extend_to_gb(), mount.initial_size_gb())
            && limit < size
        {
            problems.push(Problem::error(
                at("auto_extend_size_limit"),
                format!("must not be less than initial_size; got {limit} GB and {size} GB"),
            ));
        }
    }
    for group in config.groups() {
        let own: Vec<usize> = mounts()
            .filter(|(_, mount)| config.is_for(mount.processes.as_ref(), group))
            .map(|(index, _)| index)
            .collect();
        if let [first, second, ..] = own[..] {
            problems.push(
                Problem::error(
                    format!("mounts[{second}]"),
                    format!("is the second mount of process group \"{group}\", after mounts[{first}]: a machine has one volume"),
                )
                .remedy("Use directories of one volume, or give each mount its own `processes`."),
            );
        }
    }
}

fn files(config: &AppConfig, problems: &mut Vec<Problem>) {
    for (index, file) in config.files.iter().flatten().enumerate() {
        let at = |key: &str| format!("files[{index}]{key}");
        if file
            .guest_path
            .as_deref()
            .is_none_or(|path| path.is_empty())
        {
            problems.push(Problem::error(
                at(".guest_path"),
                "is required: a path in the machine",
            ));
        }
        let sources = [&file.local_path, &file.secret_name, &file.raw_value];
        let given = sources.iter().filter(|source| source.is_some()).count();
        if given != 1 {
            problems.push(Problem::error(
                at(""),
                "must have exactly one of local_path, secret_name, raw_value",
            ));
        }
        if file
            .raw_value
            .as_deref()
            .is_some_and(|text| !is_base64(text))
        {
            problems.push(
                Problem::warning(
                    at(".raw_value"),
                    "is not base64; the text itself becomes the file",
                )
                .remedy("Encode it with `base64`, so that every client reads the same."),
            );
        }
    }
}
