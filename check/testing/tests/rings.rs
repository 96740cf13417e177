//! The shape of the workspace, read from `cargo metadata`: who may depend on whom.

use std::collections::BTreeMap;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// From the innermost ring outwards. An arrow points to an earlier ring, or to an earlier crate of its own ring.
const RINGS: [&str; 8] = [
    "base", "domain", "wire", "state", "parts", "bin", "check", "bench",
];

/// The crate that every other crate's tests may use although it stands outside of them.
const TEST_HELPERS: &str = "mayfly-testing";

/// Heavy dependencies that stay behind one crate of ours; TLS behind one as client and one as server,
/// and what clients on a runtime share with those without one, `mayfly-init`, behind `mayfly-tls`.
const BEHIND_ONE: [(&str, &[&str]); 9] = [
    ("sqlx", &["mayfly-db"]),
    ("hyper", &["mayfly-net"]),
    ("hyper-util", &["mayfly-net"]),
    ("hyper-rustls", &["mayfly-net"]),
    ("rustls", &["mayfly-tls", "mayfly-net", "mayfly-edge"]),
    ("tokio-rustls", &["mayfly-net", "mayfly-edge"]),
    ("rtnetlink", &["mayfly-mesh"]),
    ("boringtun", &["mayfly-wireguard"]),
    ("quinn-udp", &["mayfly-wireguard"]),
];

/// What pure rules must not know.
const NOT_IN_DOMAIN: [&str; 4] = ["tokio", "tokio-util", "rustix", "libc"];

/// The rings the command line may see: it speaks to the cloud by its public interface only.
const SEEN_BY_CLI: [&str; 3] = ["base", "domain", "wire"];

/// One crate: its ring, and its place in the root manifest's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ring: usize,
    line: usize,
}

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata reads the workspace")
}

fn places(workspace: &Metadata) -> BTreeMap<String, Place> {
    let manifest = std::fs::read_to_string(workspace.workspace_root.join("Cargo.toml"))
        .expect("the workspace has a manifest");
    let order: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.split_once(" = { path"))
        .map(|(name, _)| name.trim())
        .collect();
    let root = &workspace.workspace_root;
    let place = |package: &Package| {
        let folder = package
            .manifest_path
            .strip_prefix(root)
            .expect("members lie in the workspace");
        let ring = folder
            .components()
            .next()
            .expect("a manifest lies in a folder")
            .as_str();
        Place {
            ring: RINGS
                .iter()
                .position(|known| *known == ring)
                .unwrap_or_else(|| panic!("{folder} lies in no ring")),
            line: order
                .iter()
                .position(|name| *name == package.name.as_str())
                .unwrap_or(usize::MAX),
        }
    };
    workspace
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.to_string(), place(package)))
        .collect()
}

#[test]
fn arrows_point_inwards() {
    let workspace = workspace();
    let places = places(&workspace);
    let mut wrong = Vec::new();
    for package in workspace.workspace_packages() {
        let from = places[package.name.as_str()];
        for dependency in &package.dependencies {
            let Some(to) = places.get(&dependency.name) else {
                continue;
            };
            let helps_tests =
                dependency.name == TEST_HELPERS && dependency.kind == DependencyKind::Development;
            if *to >= from && !helps_tests {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point outwards: {wrong:#?}");
}

#[test]
fn every_library_is_listed_in_ring_order() {
    let places = places(&workspace());
    let mut listed: Vec<(&String, &Place)> = places
        .iter()
        .filter(|(_, place)| place.line != usize::MAX)
        .collect();
    listed.sort_by_key(|(_, place)| place.line);
    for pair in listed.windows(2) {
        assert!(
            pair[0].1.ring <= pair[1].1.ring,
            "{} is listed before {} but lies further out",
            pair[0].0,
            pair[1].0
        );
    }
    for (name, place) in &places {
        let is_library =
            !matches!(RINGS[place.ring], "bin" | "bench") && name != "mayfly-conformance";
        assert!(
            !is_library || place.line != usize::MAX,
            "{name} is missing in the root manifest's list"
        );
    }
}

#[test]
fn heavy_dependencies_stay_behind_one_crate() {
    let workspace = workspace();
    let places = places(&workspace);
    let mut wrong = Vec::new();
    for package in workspace.workspace_packages() {
        let ring = RINGS[places[package.name.as_str()].ring];
        for dependency in &package.dependencies {
            let owner = BEHIND_ONE
                .iter()
                .find(|(heavy, _)| *heavy == dependency.name);
            if owner.is_some_and(|(_, owners)| !owners.contains(&package.name.as_str()))
                && ring != "check"
            {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
            if ring == "domain" && NOT_IN_DOMAIN.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
            let ours = places.get(&dependency.name);
            if package.name.as_str() == "mayfly"
                && dependency.kind == DependencyKind::Normal
                && ours.is_some_and(|place| !SEEN_BY_CLI.contains(&RINGS[place.ring]))
            {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies in the wrong place: {wrong:#?}"
    );
}

#[test]
fn unsafe_code_is_forbidden_outside_base_sys() {
    let workspace = workspace();
    let root: toml::Table = read_manifest(&workspace.workspace_root.join("Cargo.toml"));
    assert_eq!(
        root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
    for package in workspace.workspace_packages() {
        let manifest = read_manifest(&package.manifest_path);
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool)
            .unwrap_or(false);
        assert_eq!(
            inherits,
            package.name.as_str() != "mayfly-sys",
            "{}: only mayfly-sys may do without the workspace's lints",
            package.name
        );
    }
}

fn read_manifest(path: &cargo_metadata::camino::Utf8Path) -> toml::Table {
    std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("read {path}: {error}"))
        .parse()
        .unwrap_or_else(|error| panic!("parse {path}: {error}"))
}
