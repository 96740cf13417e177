//! What an existing Dockerfile says about the app.

/// The Dockerfile's instructions with their arguments, continued lines joined.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut joined = String::new();
    let mut instructions = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => {
                joined.push_str(part);
                joined.push(' ');
            }
            None => {
                joined.push_str(line);
                if let Some((name, arguments)) = joined.split_once(char::is_whitespace) {
                    instructions.push((name.to_ascii_uppercase(), arguments.trim().to_owned()));
                }
                joined.clear();
            }
        }
    }
    instructions
}

/// TCP ports of EXPOSE lines of the last stage, in the order they stand.
pub fn exposed(text: &str) -> Vec<u16> {
    let mut ports = Vec::new();
    for (name, arguments) in instructions(text) {
        match name.as_str() {
            "FROM" => ports.clear(),
            "EXPOSE" => ports.extend(
                arguments
                    .split_whitespace()
                    .filter(|port| !port.ends_with("/udp"))
                    .filter_map(|port| port.trim_end_matches("/tcp").parse::<u16>().ok()),
            ),
            _ => {}
        }
    }
    ports
}

/// Paths of VOLUME lines.
pub(crate) fn volumes(text: &str) -> Vec<String> {
    let lines = instructions(text);
    let volumes = lines.iter().filter(|(name, _)| name == "VOLUME");
    volumes
        .flat_map(
            |(_, arguments)| match serde_json::from_str::<Vec<String>>(arguments) {
                Ok(paths) => paths,
                Err(_) => arguments.split_whitespace().map(str::to_owned).collect(),
            },
        )
        .filter(|path| path.starts_with('/') && path.len() > 1)
        .collect()
}

/// Instructions that put a secret into the image, each as a remark.
pub(crate) fn leaks(text: &str) -> Vec<String> {
    const ENDS: [&str; 5] = ["_KEY", "_SECRET", "_TOKEN", "PASSWORD", "_CREDENTIALS"];
    let mut leaks = Vec::new();
    for (name, arguments) in instructions(text) {
        let variable = arguments.split(['=', ' ']).next().unwrap_or_default();
        if matches!(name.as_str(), "ENV" | "ARG") && ENDS.iter().any(|end| variable.ends_with(end))
        {
            leaks.push(format!(
                "{name} {variable} in the Dockerfile stays in the image for everybody who pulls it; set it as a secret, or mount \
                 it with RUN --mount=type=secret."
            ));
        }
        let copies_env = arguments
            .split_whitespace()
            .any(|word| word.rsplit('/').next() == Some(".env"));
        if matches!(name.as_str(), "COPY" | "ADD") && copies_env {
            leaks.push(format!(
                "{name} {arguments} puts .env into the image; import it as secrets instead."
            ));
        }
    }
    leaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_volumes_and_leaks_are_read() {
        let text = "FROM a AS b\nEXPOSE 1\nFROM c\n# EXPOSE 2\nexpose 80/tcp 53/udp \\\n  443\nVOLUME [\"/data\", \"/x y\"]\nVOLUME /logs\n\
                    ARG API_KEY\nENV DB_PASSWORD=x\nCOPY .env .\n";
        assert_eq!(exposed(text), [80, 443]);
        assert_eq!(volumes(text), ["/data", "/x y", "/logs"]);
        assert_eq!(leaks(text).len(), 3);
    }
}
