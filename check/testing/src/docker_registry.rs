use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Docker's own registry, Debian's package, on loopback; asks nobody for a login.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl DockerRegistry {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Self::start_in(directory, "http:\n  addr: 127.0.0.1:0\n")
    }

    /// Starts one with its data in `directory` and these sections of its configuration, among them `http`.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub fn start_in(directory: TempDir, sections: &str) -> Self {
        let file = directory.path().join("config.yml");
        let config = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}/data\n{sections}",
            directory.path().display()
        );
        fs::write(&file, config).expect("the directory is writable");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the package docker-registry is installed (./dev setup)");
        let log = process.stderr.take().expect("its log is a pipe");
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        let port = lines
            .by_ref()
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            })
            .expect("the registry says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            directory,
            port,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
