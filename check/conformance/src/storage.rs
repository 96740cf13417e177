use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mayfly_testing::{Method, send, wait_until};
use tempfile::TempDir;

use crate::tool;

/// An object storage that speaks S3 (`check/conformance/storage`), with a few objects in it.
pub struct Storage {
    address: SocketAddr,
    _directory: TempDir,
    child: Child,
}

impl Storage {
    /// The only access key of one that checks signatures, and its secret.
    pub const KEY: (&str, &str) = ("storage-key", "storage-secret");

    /// One that is asked without signatures.
    #[track_caller]
    pub fn open(objects: &[(&str, &str)]) -> Storage {
        Self::start(objects, &[])
    }

    /// One that refuses every request that [`Storage::KEY`] has not signed.
    #[track_caller]
    pub fn guarded(objects: &[(&str, &str)]) -> Storage {
        Self::start(objects, &[Self::KEY.0, Self::KEY.1])
    }

    /// `objects` by `<bucket>/<key>`.
    #[track_caller]
    fn start(objects: &[(&str, &str)], key: &[&str]) -> Storage {
        let directory = TempDir::new().expect("a temporary directory can be made");
        for (path, text) in objects {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
                .expect("the temporary directory is writable");
            fs::write(path, text).expect("the temporary directory is writable");
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let child = Command::new(tool("object-storage"))
            .arg(address.to_string())
            .arg(directory.path())
            .args(key)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a program that is there can be started");
        let storage = Storage {
            address,
            _directory: directory,
            child,
        };
        wait_until("the storage answers", || {
            send(address, Method::Get, "/", &[], b"").is_ok()
        });
        storage
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
