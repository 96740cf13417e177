//! A browser over the cloud's own authority: HTTP/2, a WebSocket and server-sent events from a page.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mayfly_conformance::Stage;
use mayfly_testing::{wait_for, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Chromium with a home of its own, which trusts what its store holds and nobody's tests share.
struct Browser(TempDir);

impl Browser {
    fn that_trusts(root: &Path) -> Browser {
        let home = TempDir::new().unwrap();
        let store = home.path().join(".pki/nssdb");
        std::fs::create_dir_all(&store).unwrap();
        let store = format!("sql:{}", store.display());
        for arguments in [
            vec!["-N", "--empty-password"],
            vec![
                "-A",
                "-t",
                "C,,",
                "-n",
                "mayfly",
                "-i",
                root.to_str().unwrap(),
            ],
        ] {
            let made = Command::new("certutil")
                .args(["-d", &store])
                .args(arguments)
                .output()
                .expect("certutil is one of the tools tests need (./dev setup)");
            assert!(made.status.success(), "{made:?}");
        }
        Browser(home)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("chromium");
        command
            .env("HOME", self.0.path())
            .env_remove("DISPLAY")
            .args([
                "--headless=new",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            // Chromium refuses to build its sandbox as root, and everything it loads here is the test's own.
            .arg("--no-sandbox")
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!(
                "--user-data-dir={}",
                self.0.path().join("profile").display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Opens a page and stays on it until the tab is dropped.
    fn open(&self, url: &str) -> Tab {
        let child = self
            .command()
            .arg("--remote-debugging-port=0")
            .arg(url)
            .spawn()
            .expect("chromium is one of the tools tests need (./dev setup)");
        Tab(child)
    }

    /// The document that a page has become, as text.
    fn document(&self, url: &str) -> String {
        let shown = self
            .command()
            .args(["--dump-dom", "--timeout=20000"])
            .arg(url)
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }
}

struct Tab(Child);

impl Drop for Tab {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_browser_speaks_http2_websocket_and_events_over_our_own_authority() {
    let stage = Stage::set();
    stage.import_echo();
    stage.start(Stage::echo(json!({"ports": [
        {"port": 80, "handlers": ["http"], "force_https": true},
        {"port": 443, "handlers": ["tls", "http"]},
    ]})));
    let root = stage.cloud.data_dir().join("trusted.pem");
    let printed = stage.cloud.cli().run(["trust", "--print"]);
    std::fs::write(&root, printed.ok()).unwrap();
    let inside = |path: &str| {
        let forced = [
            ("host", "stage.mayfly.localhost"),
            ("accept", "application/json"),
        ];
        let edge = stage.cloud.edge();
        mayfly_testing::send(edge, mayfly_testing::Method::Get, path, &forced, b"")
    };
    wait_until("plain requests are led to https", || {
        inside("/page").is_ok_and(|answer| answer.status == 301)
    });
    let browser = Browser::that_trusts(&root);
    let edge = stage.cloud.edge_tls();
    let url =
        |app: &str, path: &str| format!("https://{app}.mayfly.localhost:{}{path}", edge.port());
    let report = || -> Option<Value> {
        let told = Command::new("curl")
            .args(["-s", "--max-time", "10", "--cacert"])
            .arg(&root)
            .arg(url("stage", "/report"))
            .output()
            .ok()?;
        serde_json::from_slice(&told.stdout).ok()
    };
    let tab = browser.open(&url("stage", "/page"));
    let said = wait_for("the page reports", report);
    drop(tab);
    assert_eq!(said["sse"], "event 2", "{said}");
    // The WebSocket came as a stream of the page's connection (RFC 8441).
    assert_eq!(said["ws"], "2 mayfly", "{said}");
    assert_eq!(
        said["fetch"],
        json!({"length": 100_000, "page": "h2", "proto": "https"})
    );
    // A page of the edge's own is for people.
    let document = browser.document(&url("nobody", "/"));
    for part in ["404 Not Found", "No app answers to nobody", "app_not_found"] {
        assert!(document.contains(part), "no {part} in {document}");
    }
    // Whoever does not trust the root sees nothing of the app.
    let stranger = TempDir::new().unwrap();
    let stranger = Browser(stranger);
    let document = stranger.document(&url("stage", "/page"));
    assert!(!document.contains("<h1>Mayfly</h1>"), "{document}");
}
