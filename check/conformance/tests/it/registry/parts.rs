//! Layers that go to a bucket in parts, on a line that breaks.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use mayfly_conformance::{Stage, Storage};
use mayfly_testing::{CloudOptions, Method, send, wait_until};

use super::{clients_of, in_registry};

const PREFIX: &str = "/layers/cloud/one/blobs/sha256/";

/// A line to a storage that breaks at parts from a number on.
struct Line {
    address: SocketAddr,
    /// Numbers of the parts that were sent, in order.
    parts: Arc<Mutex<Vec<u32>>>,
    breaks_at: Arc<AtomicU32>,
}

impl Line {
    fn to(storage: SocketAddr) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parts = Arc::new(Mutex::new(Vec::new()));
        let breaks_at = Arc::new(AtomicU32::new(u32::MAX));
        let (seen, limit) = (Arc::clone(&parts), Arc::clone(&breaks_at));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(storage) else {
                    continue;
                };
                let (mut back, mut forth) = (server.try_clone().unwrap(), client);
                let mut answers = forth.try_clone().unwrap();
                thread::spawn(move || {
                    std::io::copy(&mut back, &mut answers).ok();
                    answers.shutdown(Shutdown::Both).ok();
                });
                let (seen, limit) = (Arc::clone(&seen), Arc::clone(&limit));
                thread::spawn(move || {
                    let mut server = server;
                    let mut piece = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = forth.read(&mut piece) {
                        if let Some(part) = part_in(&piece[..count]) {
                            seen.lock().unwrap().push(part);
                            if part >= limit.load(Ordering::Relaxed) {
                                break;
                            }
                        }
                        if server.write_all(&piece[..count]).is_err() {
                            break;
                        }
                    }
                    forth.shutdown(Shutdown::Both).ok();
                    server.shutdown(Shutdown::Both).ok();
                });
            }
        });
        Line {
            address,
            parts,
            breaks_at,
        }
    }

    fn break_at(&self, part: u32) {
        self.breaks_at.store(part, Ordering::Relaxed);
    }

    fn parts(&self) -> Vec<u32> {
        std::mem::take(&mut self.parts.lock().unwrap())
    }
}

/// The part whose request begins in these bytes.
fn part_in(bytes: &[u8]) -> Option<u32> {
    let text = bytes.strip_prefix(b"PUT ")?;
    let line = text.split(|byte| *byte == b'\r').next()?;
    let (_, after) = std::str::from_utf8(line).ok()?.split_once("partNumber=")?;
    after.split('&').next()?.parse().ok()
}

#[test]
fn a_layer_in_parts_is_gone_on_with_and_what_is_left_is_given_up() {
    let storage = Storage::open(&[("layers/readme", "made by the test")]);
    let line = Line::to(storage.address());
    let config = format!(
        "[registry]\ncollect_period = \"200ms\"\nuploads_kept = \"20s\"\n\
         [registry.bucket]\nendpoint = \"http://{}\"\nname = \"layers\"\nprefix = \"cloud/one\"\npart_bytes = 5242880\n",
        line.address
    );
    let mut stage = Stage::set_with(CloudOptions {
        config: Some(config),
        ..CloudOptions::default()
    });
    let clients = clients_of(&stage);
    let image = clients.image("large", 13 << 20);
    let target = in_registry(&stage, "stage:v1");
    line.break_at(3);
    clients.copy(&image, &target).unwrap_err();
    assert_eq!(line.parts()[..2], [1, 2]);
    stage.cloud.kill_daemon();
    line.break_at(u32::MAX);
    stage.cloud.start_daemon();
    clients.copy(&image, &target).unwrap();
    assert_eq!(line.parts(), [3], "what had come was not sent again");
    let out = format!("oci:{}:image:v1", clients.path("out").display());
    clients.copy(&target, &out).unwrap();
    assert_eq!(clients.digest("out"), clients.digest("large"));

    // Begun by somebody who died before writing it down, and by a push that nobody goes on with.
    let address = storage.address();
    let lost = format!("{PREFIX}{}?uploads", "ab".repeat(32));
    let begun = send(address, Method::Post, &lost, &[], b"").unwrap();
    assert_eq!(begun.status, 200, "{}", begun.text());
    line.break_at(2);
    let other = clients.image("other", 11 << 20);
    clients
        .copy(&other, &in_registry(&stage, "stage:v2"))
        .unwrap_err();
    let notes = stage.cloud.data_dir().join("registry/parts");
    let under_way = || {
        let list = send(address, Method::Get, "/layers?uploads", &[], b"").unwrap();
        assert_eq!(list.status, 200, "{}", list.text());
        list.text().matches("<UploadId>").count()
    };
    assert_eq!(fs::read_dir(&notes).unwrap().count(), 1);
    wait_until("nothing is under way", || under_way() == 0);
    assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
}
