use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_testing::{Answer, CloudOptions, Method, TestCloud};
use serde_json::{Value, json};

/// Where Debian's busybox-static puts it.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
pub(crate) const IMAGE: &str = "bench.local/busybox:1";
pub(crate) const APP: &str = "bench";

/// A cloud with one app whose machines sleep.
pub(crate) struct BenchCloud {
    pub(crate) cloud: TestCloud,
}

impl BenchCloud {
    pub(crate) fn start() -> Result<BenchCloud> {
        let cloud = TestCloud::start_with(CloudOptions::default());
        let image = mayfly_testing::TestImage::busybox().cmd(&["/bin/busybox", "sleep", "1000000"]);
        let archive = cloud.data_dir().join("bench-image.tar");
        image.write_oci_archive(&archive, IMAGE)?;
        let bytes = std::fs::read(&archive)?;
        let bearer = format!("Bearer {}", cloud.token());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/x-tar"),
        ];
        let path = format!("/v1/images?name={IMAGE}");
        let answer = mayfly_testing::send(cloud.api(), Method::Post, &path, &headers, &bytes)?;
        ensure!(answer.status < 300, "import: {}", answer.text());
        let this = BenchCloud { cloud };
        ok(&this.cloud.post(
            "/v1/apps",
            json!({ "app_name": APP, "org_slug": "personal" }),
        ))?;
        Ok(this)
    }

    /// Creates a machine and returns its id; it may not be started yet.
    pub(crate) fn create(&self) -> Result<String> {
        self.create_with(json!({}))
    }

    /// Creates a machine with more in its configuration than the usual.
    pub(crate) fn create_with(&self, more: Value) -> Result<String> {
        let mut config = json!({
            "image": IMAGE,
            "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
            "stop_config": { "signal": "SIGKILL", "timeout": "1s" },
        });
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        let machine = ok(&self.cloud.post(&machines(), json!({ "config": config })))?;
        machine["id"]
            .as_str()
            .map(str::to_owned)
            .context("a created machine has an id")
    }

    /// How long from the request of `action` until the machine is in `state`.
    pub(crate) fn act(&self, id: &str, action: &str, state: &str) -> Result<Duration> {
        let began = Instant::now();
        ok(&self
            .cloud
            .post(&format!("{}/{id}/{action}", machines()), json!({})))?;
        self.wait(id, state)?;
        Ok(began.elapsed())
    }

    pub(crate) fn wait(&self, id: &str, state: &str) -> Result<()> {
        ok(&self.cloud.get(&format!(
            "{}/{id}/wait?state={state}&timeout=60",
            machines()
        )))
        .map(drop)
    }

    pub(crate) fn destroy(&self, id: &str) -> Result<()> {
        ok(&self
            .cloud
            .delete(&format!("{}/{id}?force=true", machines())))
        .map(drop)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        ok(&self.cloud.get(path))
    }
}

/// The collection of the app's machines.
pub(crate) fn machines() -> String {
    format!("/v1/apps/{APP}/machines")
}

pub(crate) fn ok(answer: &Answer) -> Result<Value> {
    ensure!(
        (200..300).contains(&answer.status),
        "{} answered {}: {}",
        answer.request,
        answer.status,
        answer.text()
    );
    Ok(answer.json())
}
