//! Load of one kind on one proxy: wrk for HTTP/1.1, h2load for HTTP/2, for fixed rates and for TLS with a server name.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::peers::Proxy;

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    tool: Tool,
    connections: u32,
    path: &'static str,
    /// A connection per request.
    closes: bool,
    tls: bool,
    /// To the port that takes bytes as they come.
    raw: bool,
    /// Requests a second of each connection.
    rate: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Wrk,
    H1,
    H2 { streams: u32 },
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    requests: f64,
    cpu: Duration,
    pub(super) rate: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Outcome {
    /// Microseconds of CPU time per request.
    pub(super) fn cost_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests
    }
}

impl Load {
    pub(super) const fn wrk(connections: u32, path: &'static str) -> Load {
        Load {
            tool: Tool::Wrk,
            connections,
            path,
            closes: false,
            tls: false,
            raw: false,
            rate: None,
        }
    }

    pub(super) const fn h1(connections: u32, path: &'static str) -> Load {
        Load {
            tool: Tool::H1,
            ..Load::wrk(connections, path)
        }
    }

    pub(super) const fn h2(connections: u32, streams: u32, path: &'static str) -> Load {
        Load {
            tool: Tool::H2 { streams },
            tls: true,
            ..Load::wrk(connections, path)
        }
    }

    pub(super) const fn closing(self) -> Load {
        Load {
            closes: true,
            ..self
        }
    }

    pub(super) const fn tls(self) -> Load {
        Load { tls: true, ..self }
    }

    pub(super) const fn raw(self) -> Load {
        Load { raw: true, ..self }
    }

    /// Whether the proxy can do it.
    pub(super) fn suits(self, proxy: &Proxy) -> bool {
        !self.raw || proxy.tcp.is_some()
    }

    pub(super) const fn rate(self, per_connection: u32) -> Load {
        Load {
            rate: Some(per_connection),
            ..self
        }
    }

    pub(super) fn run(self, proxy: &Proxy, host: &str, time: Duration) -> Result<Outcome> {
        let before = proxy.cpu()?;
        let mut outcome = match self.tool {
            Tool::Wrk => self.run_wrk(proxy, host, time),
            Tool::H1 | Tool::H2 { .. } => self.run_h2load(proxy, host, time),
        }?;
        outcome.cpu = proxy.cpu()? - before;
        ensure!(outcome.requests > 0.0, "no request was answered");
        Ok(outcome)
    }

    fn run_wrk(self, proxy: &Proxy, host: &str, time: Duration) -> Result<Outcome> {
        let mut command = Command::new("wrk");
        command
            .args(["-t1", "--latency", "-c"])
            .arg(self.connections.to_string())
            .arg(format!("-d{}s", time.as_secs()))
            .args(["-H", &format!("Host: {host}")]);
        if self.closes {
            command.args(["-H", "Connection: close"]);
        }
        let url = if let (true, Some(tcp)) = (self.raw, proxy.tcp) {
            format!("http://{tcp}{}", self.path)
        } else if self.tls {
            format!("https://127.0.0.1:{}{}", proxy.tls, self.path)
        } else {
            format!("http://127.0.0.1:{}{}", proxy.plain, self.path)
        };
        let text = output(command.arg(url))?;
        if let Some(bad) = text.lines().find(|line| line.contains("Non-2xx")) {
            bail!("{bad}");
        }
        let after = |label: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(label));
            line.map(|rest| rest.trim().to_owned())
        };
        let time_at = |label: &str| {
            let time = after(label).and_then(|time| milliseconds(&time));
            time.unwrap_or(f64::NAN)
        };
        let requests = text
            .lines()
            .find(|line| line.contains(" requests in "))
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("read wrk's words: {text}"))?;
        Ok(Outcome {
            requests,
            cpu: Duration::ZERO,
            rate: after("Requests/sec:")
                .and_then(|rate| rate.parse().ok())
                .unwrap_or(f64::NAN),
            p50_ms: time_at("50%"),
            p99_ms: time_at("99%"),
        })
    }

    fn run_h2load(self, proxy: &Proxy, host: &str, time: Duration) -> Result<Outcome> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("times");
        let mut command = Command::new("h2load");
        command
            .args(["-t1", "-c"])
            .arg(self.connections.to_string());
        match self.tool {
            Tool::H2 { streams } => command.arg(format!("-m{streams}")),
            Tool::H1 | Tool::Wrk => command.arg("--h1"),
        };
        if let Some(rate) = self.rate {
            command.arg(format!("--rps={rate}"));
        }
        let (scheme, port) = if self.tls {
            ("https", proxy.tls)
        } else {
            ("http", proxy.plain)
        };
        command
            .arg(format!("-D{}", time.as_secs()))
            .arg(format!("--log-file={}", log.display()))
            .arg(format!("--connect-to=127.0.0.1:{port}"))
            .arg(format!("{scheme}://{host}{}", self.path));
        let text = output(&mut command)?;
        let status = text
            .lines()
            .find(|line| line.starts_with("status codes:"))
            .with_context(|| format!("read h2load's words: {text}"))?;
        ensure!(
            status.contains(" 0 3xx, 0 4xx, 0 5xx"),
            "answers other than 200: {status}"
        );
        let mut times: Vec<f64> = std::fs::read_to_string(&log)?
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
            .map(|microseconds: f64| microseconds / 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            times.get(index).copied().unwrap_or(f64::NAN)
        };
        Ok(Outcome {
            requests: times.len() as f64,
            cpu: Duration::ZERO,
            rate: times.len() as f64 / time.as_secs_f64(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        })
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {text}{errors}");
    Ok(text)
}

/// As wrk writes times: `870.00us`, `1.23ms`, `1.02s`.
fn milliseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(milliseconds("870.00us"), Some(0.87));
        assert_eq!(milliseconds("1.50ms"), Some(1.5));
        assert_eq!(milliseconds("2s"), Some(2000.0));
        assert_eq!(milliseconds("x"), None);
    }
}
