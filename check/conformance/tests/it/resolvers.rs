//! Names as real programs find them: the resolvers of glibc, musl, Go, Node (its own by c-ares, and the system's).

use std::path::{Path, PathBuf};
use std::process::Command;

use mayfly_conformance::{Stage, netprobe};
use mayfly_testing::{TestImage, wait_until};
use serde_json::json;

/// Prints the addresses of a name, one a line, as `getaddrinfo` of whatever C library it is linked with finds them.
const RESOLVE_C: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int problem = getaddrinfo(argv[1], 0, &hints, &found);
    if (problem) { fprintf(stderr, "%s\n", gai_strerror(problem)); return 1; }
    for (; found; found = found->ai_next) {
        char text[64];
        getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
        puts(text);
    }
}
"#;

/// Both ways of Node: c-ares, and the thread pool that asks the C library.
const RESOLVE_NODE: &str = "
const dns = require('dns').promises;
const name = process.argv[2], way = process.argv[1];
const found = way === 'ares' ? dns.resolve6(name) : dns.lookup(name, { all: true });
found.then(all => all.forEach(one => console.log(one.address || one)),
           error => { console.error(error.code); process.exit(1); });
";

struct Resolver {
    name: &'static str,
    /// A shell line that prints the addresses of `$name`.
    line: String,
}

/// Where a program of this system is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file())
}

/// A program of this system with the libraries it is linked with, at their usual places.
fn with_program(mut image: TestImage, program: &Path, at: &str) -> TestImage {
    image = image.file(at, 0o755, std::fs::read(program).unwrap());
    let listed = Command::new("ldd").arg(program).output().unwrap();
    for word in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
        if word.starts_with('/') && Path::new(word).is_file() {
            image = image.file(word, 0o755, std::fs::read(word).unwrap());
        }
    }
    image
}

/// Node itself; what is called so may be the script of a version manager.
fn node() -> Option<PathBuf> {
    let output = Command::new("node")
        .args(["-p", "process.execPath"])
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

#[test]
fn every_resolver_finds_machines_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = TestImage::busybox()
        .file("/bin/netprobe", 0o755, std::fs::read(netprobe()).unwrap())
        .file("/etc/nsswitch.conf", 0o644, "hosts: files dns\n");
    image = with_program(image, Path::new("/usr/bin/getent"), "/bin/getent");
    let mut resolvers = vec![
        Resolver {
            name: "Go",
            line: "netprobe resolve $name".to_owned(),
        },
        Resolver {
            name: "glibc",
            line: "getent ahostsv6 $name | cut -d' ' -f1 | sort -u".to_owned(),
        },
        Resolver {
            name: "busybox",
            line: "nslookup -type=aaaa $name | sed -n 's/^Address: //p'".to_owned(),
        },
    ];
    let musl = folder.path().join("resolve-musl");
    if find("musl-gcc").is_some() {
        let source = folder.path().join("resolve.c");
        std::fs::write(&source, RESOLVE_C).unwrap();
        let built = Command::new("musl-gcc")
            .args(["-static", "-o"])
            .args([&musl, &source])
            .status()
            .unwrap();
        assert!(built.success(), "the program for musl does not build");
        image = image.file("/bin/resolve-musl", 0o755, std::fs::read(&musl).unwrap());
        resolvers.push(Resolver {
            name: "musl",
            line: "resolve-musl $name".to_owned(),
        });
    } else {
        eprintln!("skipped: musl; ./dev setup installs musl-tools");
    }
    if let Some(node) = node() {
        image = with_program(image, &node, "/bin/node").file("/resolve.js", 0o644, RESOLVE_NODE);
        for (name, way) in [("c-ares", "ares"), ("Node", "system")] {
            resolvers.push(Resolver {
                name,
                line: format!("node -e \"$(cat /resolve.js)\" {way} $name"),
            });
        }
    } else {
        eprintln!("skipped: node is missing");
    }
    let archive = folder.path().join("resolvers.tar");
    image
        .write_docker_archive(&archive, "resolvers:latest")
        .unwrap();
    let stage = Stage::set();
    stage.import(&archive, "resolvers:latest");
    let config = || {
        json!({
            "image": "resolvers:latest",
            "init": {"exec": ["/bin/sleep", "inf"]},
            "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 1024},
        })
    };
    let (one, two) = (stage.start(config()), stage.start(config()));
    let mut both: Vec<String> = [&one, &two]
        .map(|id| {
            let ip: std::net::Ipv6Addr = stage.get(id)["private_ip"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            ip.to_string()
        })
        .into();
    both.sort();
    for Resolver { name, line } in &resolvers {
        let found = |what: &str| {
            let exec = stage.exec(&one, &format!("name={what}; {line}"));
            let mut addresses: Vec<String> = exec.stdout.lines().map(str::to_owned).collect();
            addresses.sort();
            (exec.code, addresses, exec.stderr)
        };
        wait_until(&format!("{name} finds both machines"), || {
            found("stage.internal").1 == both
        });
        let vm = found(&format!("{two}.vm.stage.internal"));
        assert_eq!(vm.1.len(), 1, "{name}: {vm:?}");
        let nobody = found("nobody.internal");
        assert_eq!(nobody.1, Vec::<String>::new(), "{name}: {nobody:?}");
        println!("{name} finds names");
    }
    // The machine's own names come from a file, by the same resolvers.
    let local = stage.shell(
        &one,
        "getent ahostsv6 fly-local-6pn | cut -d' ' -f1 | sort -u",
    );
    assert!(both.contains(&local), "{local}");
}
