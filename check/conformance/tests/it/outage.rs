//! The database of the control plane goes away: edges keep serving, waking and watching.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, postgres_url, wait_until};
use serde_json::json;
use tempfile::TempDir;

/// Stands between the daemon and PostgreSQL and can be cut.
struct Wire {
    directory: TempDir,
    url: String,
    cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Wire {
    fn lay() -> Wire {
        let directory = TempDir::new().unwrap();
        let url = postgres_url();
        let (database, host) = url.split_once("?host=").unwrap();
        let socket = |directory: &Path| directory.join(".s.PGSQL.5432");
        let (there, here) = (socket(Path::new(host)), socket(directory.path()));
        let url = format!("{database}?host={}", directory.path().display());
        let wire = Wire {
            directory,
            url,
            cut: Arc::default(),
            open: Arc::default(),
        };
        let listener = UnixListener::bind(here).unwrap();
        let (cut, open) = (Arc::clone(&wire.cut), Arc::clone(&wire.open));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = UnixStream::connect(&there) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.lock().unwrap().push(from.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        wire
    }

    /// A file with the way to the database along this wire.
    fn url_file(&self) -> PathBuf {
        let path = self.directory.path().join("url");
        fs::write(&path, &self.url).unwrap();
        path
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn edges_serve_wake_and_watch_while_the_store_is_away() {
    let wire = Wire::lay();
    let mut stage = Stage::set_with(CloudOptions {
        config: Some(format!("[store]\nurl_file = {:?}\n", wire.url_file())),
        ..CloudOptions::default()
    });
    stage.import_echo();
    let watched = || {
        Stage::echo(json!({
            "checks": [{"type": "http", "path": "/check", "interval": "1s", "timeout": "1s"}],
        }))
    };
    let ids: Vec<String> = (0..2).map(|_| stage.start(watched())).collect();
    stage.create_app("sleepy", "personal");
    stage.app = "sleepy".to_owned();
    let asleep = stage.start(Stage::echo(json!({})));
    stage.act(&asleep, "stop", json!({}));
    stage.wait(&asleep, "stopped");
    let machine = |app: &str, fields: &[(&str, &str)], path: &str| {
        let answer = Stage::ask(stage.cloud.edge(), app, path, fields).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["machine"].as_str().unwrap().to_owned()
    };
    for id in &ids {
        wait_until("both answer", || {
            let forced = [("fly-force-instance-id", id.as_str())];
            Stage::ask(stage.cloud.edge(), "stage", "/", &forced)
                .is_ok_and(|answer| answer.status == 200)
        });
    }

    wire.cut();
    let api = stage.cloud.get("/v1/apps?org_slug=personal");
    assert!(api.status >= 500, "the API needs the store: {}", api.text());
    assert!(ids.contains(&machine("stage", &[], "/")));
    assert_eq!(machine("sleepy", &[], "/"), asleep);
    // A machine whose check fails gets nothing more.
    let first = [("fly-force-instance-id", ids[0].as_str())];
    assert_eq!(machine("stage", &first, "/?healthy=no"), ids[0]);
    let only_second = || (0..20).all(|_| machine("stage", &[], "/") == ids[1]);
    wait_until("the other machine gets all requests", only_second);
    assert_eq!(machine("stage", &first, "/?healthy=yes"), ids[0]);
    wait_until("it is back", || !only_second());

    wire.mend();
    wait_until("the API is back", || {
        stage.cloud.get("/v1/apps?org_slug=personal").status == 200
    });
    wait_until("what happened meanwhile is told", || {
        stage.state(&asleep) == "started"
    });
}
