//! Restarts of the daemon while somebody else holds its listening sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mayfly_testing::{CloudOptions, TestCloud, wait_until};

/// One connection with one request; what went wrong, if it was not answered.
fn ask(address: SocketAddr) -> Result<(), String> {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    match talk() {
        Ok(answer) if answer.starts_with(b"HTTP/1.1 404") => Ok(()),
        Ok(answer) => Err(String::from_utf8_lossy(&answer).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn restarts_refuse_nobody() {
    let mut cloud = TestCloud::start_with(CloudOptions {
        hold_sockets: true,
        ..CloudOptions::default()
    });
    let address = cloud.edge();
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match ask(address) {
                        Ok(()) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(failure) => failures.push(failure),
                    }
                }
                failures
            })
        })
        .collect();
    for _ in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        wait_until("clients are answered", || {
            answered.load(Ordering::Relaxed) > before + 20
        });
        cloud.stop_daemon();
        cloud.start_daemon();
        assert_eq!(cloud.edge(), address);
    }
    over.store(true, Ordering::Relaxed);
    let failures: Vec<String> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("clients do not panic"))
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
}
