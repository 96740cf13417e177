//! The proxies under measurement.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::cpu::cpu_of;

#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) plain: u16,
    pub(super) tls: u16,
    /// Where it passes bytes on as they come.
    pub(super) tcp: Option<SocketAddr>,
}

impl Proxy {
    /// CPU time of the proxy's processes so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(cpu_of).sum()
    }

    /// Memory of the proxy's processes in bytes, shared pages counted in part.
    pub(super) fn memory(&self) -> Result<u64> {
        let mut total = 0;
        for pid in self.processes()? {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let words = line.context("the kernel tells the proportional set size")?;
            let kib: u64 = words
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .parse()?;
            total += kib * 1024;
        }
        Ok(total)
    }

    /// The daemon's children are machines, nginx's are its workers.
    fn processes(&self) -> Result<Vec<u32>> {
        let mut all = vec![self.pid];
        if self.name == "nginx" {
            let path = format!("/proc/{0}/task/{0}/children", self.pid);
            for child in std::fs::read_to_string(path)?.split_whitespace() {
                all.push(child.parse()?);
            }
        }
        Ok(all)
    }

    pub(super) fn wait_until_it_answers(&self, host: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.ask(host) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("{} does not answer", self.name)));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn ask(&self, host: &str) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.plain))?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }
}

/// Debian's proxies, until dropped.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) haproxy: Proxy,
    pub(super) nginx: Proxy,
    children: Vec<Child>,
    _directory: tempfile::TempDir,
}

impl Peers {
    pub(super) fn start(upstream: &str, host: &str) -> Result<Peers> {
        let directory = tempfile::tempdir()?;
        let at = directory.path();
        certificate(at, host)?;
        let [a, b, c, d, e] = free_ports()?;
        let dir = at.display();
        let haproxy = format!(
            "global\n  nbthread 2\n  maxconn 8000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
             http-reuse always\n  option forwardfor\n\
             frontend f\n  bind 127.0.0.1:{a}\n  bind 127.0.0.1:{b} ssl crt {dir}/both.pem alpn h2,http/1.1\n  \
             default_backend s\n\
             backend s\n  server s {upstream}\n\
             listen t\n  mode tcp\n  bind 127.0.0.1:{e}\n  server s {upstream}\n"
        );
        std::fs::write(at.join("haproxy.cfg"), haproxy)?;
        let nginx = format!(
            "daemon off;\nworker_processes 2;\nworker_rlimit_nofile 10000;\npid {dir}/nginx.pid;\n\
             error_log {dir}/error.log;\nevents {{ worker_connections 8000; }}\n\
             http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
             fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             keepalive_requests 100000000;\n\
             upstream s {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}\n\
             server {{ listen 127.0.0.1:{c}; listen 127.0.0.1:{d} ssl http2; server_name {host};\n\
             ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;\n\
             location / {{ proxy_pass http://s; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n"
        );
        std::fs::write(at.join("nginx.conf"), nginx)?;
        let start = |program: &str, arguments: &[&str]| -> Result<Child> {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(at.join(format!("{program}.stderr")))?)
                .spawn()
                .with_context(|| format!("start {program} (./dev setup --test installs it)"))
        };
        let path = |name: &str| format!("{dir}/{name}");
        let first = start("haproxy", &["-db", "-f", &path("haproxy.cfg")])?;
        let errors = path("error.log");
        let second = start(
            "nginx",
            &["-p", &path(""), "-e", &errors, "-c", &path("nginx.conf")],
        )?;
        let proxy = |name, child: &Child, plain, tls, tcp: Option<u16>| Proxy {
            name,
            pid: child.id(),
            plain,
            tls,
            tcp: tcp.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        };
        Ok(Peers {
            haproxy: proxy("haproxy", &first, a, b, Some(e)),
            // Debian's small nginx has no module for it.
            nginx: proxy("nginx", &second, c, d, None),
            children: vec![first, second],
            _directory: directory,
        })
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // nginx's master ends its workers when it is asked to end, not when it is killed.
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = child.wait();
        }
    }
}

fn certificate(at: &Path, host: &str) -> Result<()> {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30"])
        .args(curve)
        .args(["-subj", &format!("/CN={host}")])
        .arg("-keyout")
        .arg(at.join("key.pem"))
        .arg("-out")
        .arg(at.join("cert.pem"))
        .output()
        .context("run openssl")?;
    let errors = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "openssl: {errors}");
    let mut both = std::fs::read(at.join("cert.pem"))?;
    both.extend(std::fs::read(at.join("key.pem"))?);
    Ok(std::fs::write(at.join("both.pem"), both)?)
}

fn free_ports() -> Result<[u16; 5]> {
    let listeners: Vec<TcpListener> = (0..5)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()?;
    let mut ports = [0; 5];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
