use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use mayfly_testing::{Method, send, wait_until};
use tempfile::TempDir;

use crate::tool;

/// An object storage that speaks S3 and checks signatures, for tests; it also takes requests without one.
pub struct Storage {
    address: SocketAddr,
    _directory: TempDir,
    child: Child,
}

impl Storage {
    /// Its only access key, and the secret of it.
    pub const KEY: &'static str = "S3RVER";

    /// # Panics
    /// If it was not installed (`./dev setup` does) or does not come up.
    pub fn start(buckets: &[&str]) -> Storage {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let mut command = Command::new("node");
        command
            .arg(tool("storage/node_modules/s3rver/bin/s3rver.js"))
            .arg("--directory")
            .arg(directory.path())
            .args(["--silent", "--no-vhost-buckets", "--address", "127.0.0.1"])
            .args(["--port", &address.port().to_string()]);
        for bucket in buckets {
            command.args(["--configure-bucket", bucket]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("node is one of the tools tests need (./dev setup)");
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

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stores an object at `/<bucket>/<key>`.
    #[track_caller]
    pub fn put(&self, path: &str, media_type: &str, body: &[u8]) {
        let fields = [("content-type", media_type)];
        send(self.address, Method::Put, path, &fields, body)
            .unwrap_or_else(|error| panic!("{error}"))
            .expect(200);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
