use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mayfly_testing::wait_until;
use tempfile::TempDir;

/// An ACME authority of Let's Encrypt's own making, for tests: it looks at the ports it is told instead of 80 and 443.
pub struct Pebble {
    directory: TempDir,
    listen: SocketAddr,
    management: SocketAddr,
    child: Option<Child>,
}

impl Pebble {
    /// Chooses its addresses and makes what its clients must trust; it does not run yet.
    ///
    /// # Panics
    /// If it was not built: `./dev setup` does, given Go.
    pub fn prepare() -> Self {
        program();
        let directory = TempDir::new().expect("a temporary directory can be made");
        let made = Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=pebble -keyout key.pem -out cert.pem".split(' '))
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(directory.path())
            .output()
            .expect("openssl is one of the tools tests need (./dev setup)");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self {
            directory,
            listen: free_address(),
            management: free_address(),
            child: None,
        }
    }

    /// Lines of `config.toml` that make a cloud its client, asking `dns`.
    pub fn config(&self, dns: SocketAddr) -> String {
        format!(
            "[acme]\ndirectory_url = \"https://{}/dir\"\nemail = \"admin@example.test\"\nca_file = \"{}\"\n\
             [dns]\nservers = [\"{dns}\"]\n",
            self.listen,
            self.directory.path().join("cert.pem").display()
        )
    }

    /// Runs it: it looks for proofs at these ports, under the addresses `dns` names.
    ///
    /// # Panics
    /// If it does not come up; its log is part of the message.
    pub fn start(&mut self, http_port: u16, tls_port: u16, dns: SocketAddr, lifetime_s: u32) {
        let config = serde_json::json!({ "pebble": {
            "listenAddress": self.listen.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": "cert.pem",
            "privateKey": "key.pem",
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "usual", "validityPeriod": lifetime_s } },
        }});
        let folder = self.directory.path();
        fs::write(folder.join("pebble.json"), config.to_string()).expect("the folder is writable");
        let log = File::create(folder.join("pebble.log")).expect("the folder is writable");
        let child = Command::new(program())
            .args(["-config", "pebble.json", "-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // Every order is proved anew.
            .env("PEBBLE_AUTHZREUSE", "0")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(
                log.try_clone()
                    .expect("a file has room for a second handle"),
            )
            .stderr(log)
            .spawn()
            .expect("pebble can be started");
        self.child = Some(child);
        let root = folder.join("root.pem");
        wait_until("pebble answers", || {
            let url = format!("https://{}/roots/0", self.management);
            let asked = Command::new("curl")
                .args(["-sfk", &url, "-o"])
                .arg(&root)
                .status();
            asked.is_ok_and(|status| status.success())
        });
    }

    /// Ends it; a new start has forgotten every account and order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// What visitors trust.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("pebble.log")).unwrap_or_default()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- pebble\n{}", self.log());
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

/// Where `./dev setup` puts it; `MAYFLY_PEBBLE` names another.
fn program() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/pebble");
    let program = std::env::var_os("MAYFLY_PEBBLE").map_or(built, PathBuf::from);
    assert!(
        program.is_file(),
        "{} is missing: `./dev setup` builds this ACME server from the Go module proxy, which needs Go (golang.org/dl, \
         or the package golang-go where it is new enough)",
        program.display()
    );
    program
}
