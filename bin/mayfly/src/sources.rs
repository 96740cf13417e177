//! Reading a project's files for the scanners, within limits: a home directory is not read by accident.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use mayfly_appconfig::{AppConfig, Facts};
use mayfly_launch::{MARKS, SourceTree, detect, exposed_ports, is_skipped, is_wanted};

/// Directories below the root that are looked into.
const DEPTH_MAX: usize = 5;
const FILES_MAX: usize = 20_000;
/// Longer files are no hints but data.
const CONTENT_BYTES_MAX: u64 = 256 << 10;
const CONTENTS_BYTES_MAX: u64 = 32 << 20;

/// The files below `root`, those near it first. What cannot be read is as if it were not there; links are not followed.
pub(crate) fn read_sources(root: &Path) -> SourceTree {
    let mut files = Vec::new();
    let mut open = VecDeque::from([(root.to_owned(), String::new(), 0)]);
    let mut bytes = 0;
    while let Some((directory, prefix, depth)) = open.pop_front() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, kind) = (entry.file_name(), entry.file_type());
            let (Some(name), Ok(kind)) = (name.to_str(), kind) else {
                continue;
            };
            let path = format!("{prefix}{name}");
            if kind.is_dir() && depth < DEPTH_MAX && !is_skipped(&path) {
                open.push_back((entry.path(), format!("{path}/"), depth + 1));
            }
            if kind.is_file() {
                let content = content(&entry.path(), &path, &mut bytes);
                files.push((path, content));
            }
            if files.len() >= FILES_MAX {
                return SourceTree::new(files);
            }
        }
    }
    // Directories that are not looked into can be told by one file.
    for mark in MARKS {
        if root.join(mark).is_file() {
            files.push((mark.to_owned(), None));
        }
    }
    SourceTree::new(files)
}

fn content(path: &Path, name: &str, bytes: &mut u64) -> Option<String> {
    let length = fs::metadata(path).ok()?.len();
    if !is_wanted(name) || length > CONTENT_BYTES_MAX || *bytes + length > CONTENTS_BYTES_MAX {
        return None;
    }
    *bytes += length;
    fs::read(path)
        .ok()
        .map(|content| String::from_utf8_lossy(&content).into_owned())
}

/// What the sources in `directory` say to the rules about likely mistakes.
pub(crate) fn facts(directory: &Path, config: &AppConfig) -> Facts {
    let named = config
        .build
        .as_ref()
        .and_then(|build| build.dockerfile.as_deref());
    let dockerfile =
        named.map_or_else(|| directory.join("Dockerfile"), |name| directory.join(name));
    let exposed = fs::read_to_string(&dockerfile).unwrap_or_default();
    let project = detect(&read_sources(directory));
    Facts {
        exposed_ports: exposed_ports(&exposed).into_iter().map(i64::from).collect(),
        migration: project
            .as_ref()
            .and_then(|project| project.migration.clone())
            .map(|(tool, command)| (tool.to_owned(), command)),
        hungry_runtime: project
            .and_then(|project| project.hungry_runtime)
            .map(str::to_owned),
    }
}
