//! `Procfile`: one process per line.

use crate::project::Project;

/// Takes the file's processes over; `release` becomes the release command.
pub(crate) fn apply(text: &str, project: &mut Project) {
    let mut processes = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((name, command)) = line.split_once(':') else {
            continue;
        };
        let (name, command) = (name.trim(), command.trim());
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_name || command.is_empty() {
            continue;
        }
        // A shell expands the variables a Procfile relies on.
        let command = if command.contains(['$', '&', '|', ';', '>', '<']) {
            format!("sh -c '{}'", command.replace('\'', r"'\''"))
        } else {
            command.to_owned()
        };
        match name {
            "release" => project.release_command = Some(command),
            _ => processes.push((name.to_owned(), command)),
        }
    }
    if !processes.is_empty() {
        project.processes = processes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_groups_and_release_a_command() {
        let mut project = Project::default();
        apply(
            "web: gunicorn -b :$PORT app\n# no\nworker: rake jobs\nrelease: rake db:migrate\nbad line\n",
            &mut project,
        );
        assert_eq!(
            project.processes,
            [
                (
                    "web".to_owned(),
                    "sh -c 'gunicorn -b :$PORT app'".to_owned()
                ),
                ("worker".to_owned(), "rake jobs".to_owned())
            ]
        );
        assert_eq!(project.release_command.as_deref(), Some("rake db:migrate"));
    }
}
