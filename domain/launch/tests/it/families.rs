use std::collections::BTreeSet;

use mayfly_launch::{Backing, SourceTree, detect, is_skipped, is_wanted};

use crate::trees::PROJECTS;
use crate::{assert_golden, tree};

#[test]
fn every_family_is_recognised_and_makes_what_was_promised() {
    for (name, family, files) in PROJECTS {
        let project = detect(&tree(files)).unwrap_or_else(|| panic!("{name} is nothing"));
        assert_eq!(project.family, *family, "{name}");
        let mut text = String::new();
        for file in &project.files {
            let mode = if file.executable { " (executable)" } else { "" };
            text.push_str(&format!("--- {}{mode}\n{}\n", file.path, file.content));
        }
        let mut rest = project;
        rest.files.clear();
        text.push_str(&format!(
            "--- project\n{}\n",
            serde_json::to_string_pretty(&rest).unwrap()
        ));
        assert_golden(&format!("{name}.txt"), &text);
    }
}

/// Rules that hold for every image we make.
#[test]
fn every_dockerfile_is_sound() {
    for (name, _, files) in PROJECTS {
        let project = detect(&tree(files)).unwrap();
        let Some(file) = project.files.iter().find(|file| file.path == "Dockerfile") else {
            continue;
        };
        let text = &file.content;
        let exposed = format!("EXPOSE {}\n", project.port);
        assert!(
            text.contains(&exposed),
            "{name} exposes another port\n{text}"
        );
        // nginx and the PHP server drop rights by themselves.
        let drops = text
            .lines()
            .any(|line| line.starts_with("USER ") && line != "USER root");
        assert!(
            drops || text.contains("FROM nginx") || text.contains("net6.0"),
            "{name} runs as root\n{text}"
        );
        let stages: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split_once(" AS "))
            .map(|(_, stage)| stage)
            .collect();
        for line in text.lines() {
            if let Some(from) = line
                .split("--from=")
                .nth(1)
                .and_then(|rest| rest.split(' ').next())
            {
                assert!(
                    stages.contains(from) || from.contains(':'),
                    "{name} copies from no stage: {line}"
                );
            }
            assert!(!line.starts_with("COPY  "), "{name}: {line}");
            assert!(!line.ends_with(' '), "{name}: trailing blank in {line:?}");
        }
        // A variable of a FROM line is declared before the first stage.
        let first = text.find("FROM ").unwrap();
        for (at, _) in text.match_indices("FROM ") {
            let line = text[at..].lines().next().unwrap();
            if let Some(variable) = line
                .split("${")
                .nth(1)
                .and_then(|rest| rest.split('}').next())
            {
                assert!(
                    text[..first].contains(&format!("ARG {variable}=")),
                    "{name}: {line}"
                );
            }
        }
    }
}

#[test]
fn a_dockerfile_that_is_there_stays_and_says_the_port() {
    for (name, family, files) in PROJECTS {
        let mut files = files.to_vec();
        files.retain(|(path, _)| *path != "Dockerfile");
        files.push(("Dockerfile", "FROM x\nEXPOSE 7777\n"));
        let project = detect(&tree(&files)).unwrap();
        assert_eq!(project.port, 7777, "{name}");
        assert_eq!(project.dockerfile.as_deref(), Some("Dockerfile"));
        assert!(
            project.files.iter().all(|file| file.path != "Dockerfile"),
            "{name}"
        );
        let knows_more = ["Django", "Laravel", "Phoenix", "Rails", "RedwoodJS"].contains(family)
            || files.iter().any(|(path, text)| {
                *path == "package.json" && project.family != "Dockerfile" && !text.is_empty()
            });
        assert_eq!(
            project.family == "Dockerfile",
            !knows_more,
            "{name} is {}",
            project.family
        );
        assert!(
            project
                .env
                .iter()
                .all(|(key, value)| key != "PORT" || value == "7777"),
            "{name}"
        );
    }
}

#[test]
fn a_procfile_names_the_processes() {
    let files = [
        ("requirements.txt", "flask"),
        ("app.py", ""),
        (
            "Procfile",
            "web: gunicorn app:app\nworker: rq worker\nrelease: flask db upgrade\n",
        ),
    ];
    let project = detect(&tree(&files)).unwrap();
    assert_eq!(
        project.processes[1],
        ("worker".to_owned(), "rq worker".to_owned())
    );
    assert_eq!(project.release_command.as_deref(), Some("flask db upgrade"));
}

#[test]
fn services_are_seen_in_the_dependencies() {
    let backing = |name: &str| {
        let (_, _, files) = PROJECTS.iter().find(|(known, ..)| *known == name).unwrap();
        detect(&tree(files)).unwrap().backing
    };
    assert_eq!(
        backing("django"),
        [Backing::Postgres, Backing::Redis, Backing::ObjectStorage]
    );
    assert_eq!(
        backing("laravel"),
        [Backing::Postgres, Backing::Redis, Backing::ObjectStorage]
    );
    assert_eq!(backing("nest"), [Backing::Mysql, Backing::Redis]);
    assert_eq!(backing("node"), [Backing::Postgres, Backing::ObjectStorage]);
    assert_eq!(backing("static"), []);
}

#[test]
fn nothing_is_made_of_nothing() {
    assert_eq!(detect(&SourceTree::default()), None);
    assert_eq!(
        detect(&tree(&[("README.md", "Django"), ("notes.txt", "flask")])),
        None
    );
    assert!(is_skipped("web/node_modules") && !is_skipped("src"));
    assert!(is_wanted("a/b/package.json") && is_wanted("src/main.rs") && !is_wanted("photo.jpg"));
}

proptest::proptest! {
    /// Whatever the files hold, looking at them is safe.
    #[test]
    fn strange_contents_are_no_accident(
        texts in proptest::collection::vec("\\PC{0,40}|[a-z0-9 =:\"'\\[\\]{}\n.()]{0,60}", 8),
        picks in proptest::collection::vec(0..PROJECTS.len(), 8),
    ) {
        let mut files = Vec::new();
        for (text, pick) in texts.iter().zip(&picks) {
            let (_, _, own) = PROJECTS[*pick];
            files.push((own[0].0, text.as_str()));
        }
        let _ = detect(&tree(&files));
    }
}
