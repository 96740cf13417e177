use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Api, ApiError, Machine, encoded, list_in, query};

/// The server holds a wait at most this long; we come back until our own patience ends.
const WAIT_STEP: Duration = Duration::from_secs(60);

/// How long the cloud may be away during a wait: its daemon restarts in a moment, and machines run on meanwhile.
const ABSENCE_MAX: Duration = Duration::from_secs(15);
const ABSENCE_PAUSE: Duration = Duration::from_millis(250);

/// What a new machine, or the next version of one, is asked to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) name: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) config: Map<String, Value>,
    pub(crate) skip_launch: bool,
    /// For an update: the version the change was made from, so that nobody's change is overwritten unseen.
    pub(crate) current_version: Option<String>,
}

/// How to end a machine's program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) signal: Option<String>,
    pub(crate) timeout_s: Option<u32>,
}

impl Launch {
    fn body(&self) -> Value {
        let mut body = json!({ "config": self.config });
        for (key, value) in [
            ("name", &self.name),
            ("region", &self.region),
            ("current_version", &self.current_version),
        ] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        if self.skip_launch {
            body["skip_launch"] = Value::from(true);
        }
        body
    }
}

fn machines_path(app: &str) -> String {
    format!("/v1/apps/{}/machines", encoded(app))
}

fn machine_path(app: &str, machine: &str, rest: &str) -> String {
    format!("{}/{}{rest}", machines_path(app), encoded(machine))
}

impl Api {
    /// The app's machines, without destroyed ones unless `include_destroyed`.
    pub(crate) async fn machines(
        &self,
        app: &str,
        include_destroyed: bool,
    ) -> Result<Vec<Machine>, ApiError> {
        let include = include_destroyed.then(|| "true".to_owned());
        let path = machines_path(app) + &query(&[("include_deleted", include)]);
        let answer = self.get(&path).send().await;
        let answer = answer.map_err(|error| error.about_app(app))?;
        let machines = list_in(answer, "machines", &path)?;
        Ok(machines.into_iter().map(Machine::new).collect())
    }

    pub(crate) async fn machine(&self, app: &str, id: &str) -> Result<Machine, ApiError> {
        let answer = self.get(&machine_path(app, id, "")).send().await?;
        Ok(Machine::new(answer))
    }

    /// Creates a machine; returns when it exists, usually before it runs.
    pub(crate) async fn create_machine(
        &self,
        app: &str,
        launch: &Launch,
    ) -> Result<Machine, ApiError> {
        // The image may have to be pulled before the machine exists.
        let call = self
            .post(&machines_path(app))
            .json(launch.body())
            .idempotent()
            .patience(Duration::from_secs(600));
        let answer = call.send().await?;
        Ok(Machine::new(answer))
    }

    pub(crate) async fn update_machine(
        &self,
        app: &str,
        id: &str,
        launch: &Launch,
    ) -> Result<Machine, ApiError> {
        let call = self.post(&machine_path(app, id, "")).json(launch.body());
        let answer = call.patience(Duration::from_secs(600)).send().await?;
        Ok(Machine::new(answer))
    }

    /// A call on a machine that says nothing back: `start`, `suspend`, `cordon`, `uncordon`.
    pub(crate) async fn machine_verb(
        &self,
        app: &str,
        id: &str,
        verb: &str,
    ) -> Result<Value, ApiError> {
        let path = machine_path(app, id, &format!("/{verb}"));
        self.post(&path)
            .patience(Duration::from_secs(120))
            .send()
            .await
    }

    pub(crate) async fn stop_machine(
        &self,
        app: &str,
        id: &str,
        stop: &Stop,
    ) -> Result<(), ApiError> {
        let mut body = Map::new();
        if let Some(signal) = &stop.signal {
            body.insert("signal".to_owned(), Value::from(signal.as_str()));
        }
        if let Some(seconds) = stop.timeout_s {
            body.insert("timeout".to_owned(), Value::from(format!("{seconds}s")));
        }
        let path = machine_path(app, id, "/stop");
        let call = self.post(&path).json(Value::from(body));
        call.patience(Duration::from_secs(360))
            .send()
            .await
            .map(drop)
    }

    pub(crate) async fn restart_machine(
        &self,
        app: &str,
        id: &str,
        stop: &Stop,
        force: bool,
    ) -> Result<(), ApiError> {
        let rest = query(&[
            ("force_stop", force.then(|| "true".to_owned())),
            (
                "timeout",
                stop.timeout_s.map(|seconds| format!("{seconds}s")),
            ),
            ("signal", stop.signal.clone()),
        ]);
        let path = machine_path(app, id, &format!("/restart{rest}"));
        let call = self.post(&path).patience(Duration::from_secs(360));
        call.send().await.map(drop)
    }

    pub(crate) async fn signal_machine(
        &self,
        app: &str,
        id: &str,
        signal: &str,
    ) -> Result<(), ApiError> {
        let path = machine_path(app, id, "/signal");
        let call = self.post(&path).json(json!({ "signal": signal }));
        call.send().await.map(drop)
    }

    pub(crate) async fn destroy_machine(
        &self,
        app: &str,
        id: &str,
        force: bool,
    ) -> Result<(), ApiError> {
        let path = machine_path(app, id, if force { "?force=true" } else { "" });
        let call = self.delete(&path).patience(Duration::from_secs(120));
        call.send().await.map(drop)
    }

    /// Waits until the machine is in one of `states`, also over a restart of the cloud's daemon.
    ///
    /// # Errors
    /// [`ApiError::Refused`] with status 408 when `patience` has passed, 404 if it was destroyed meanwhile.
    pub(crate) async fn wait_for(
        &self,
        app: &str,
        id: &str,
        states: &[&str],
        patience: Duration,
    ) -> Result<(), ApiError> {
        let until = Instant::now() + patience;
        let mut away_since = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let step = left.clamp(Duration::from_secs(1), WAIT_STEP);
            let mut pairs: Vec<(&str, Option<String>)> = states
                .iter()
                .map(|state| ("state", Some((*state).to_owned())))
                .collect();
            pairs.push(("timeout", Some(step.as_secs().to_string())));
            let path = machine_path(app, id, &format!("/wait{}", query(&pairs)));
            let call = self.get(&path).patience(step + Duration::from_secs(30));
            match call.send().await {
                Err(error) if error.status() == Some(408) && Instant::now() < until => {
                    away_since = None;
                }
                Err(error) if error.is_absence() => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > ABSENCE_MAX || Instant::now() > until {
                        return Err(error);
                    }
                    tokio::time::sleep(ABSENCE_PAUSE).await;
                }
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Runs a program in the machine to its end.
    pub(crate) async fn exec(
        &self,
        app: &str,
        id: &str,
        request: Value,
    ) -> Result<Value, ApiError> {
        let path = machine_path(app, id, "/exec");
        let limit_s = request
            .get("timeout")
            .and_then(Value::as_u64)
            .unwrap_or(3600);
        let call = self.post(&path).json(request);
        call.patience(Duration::from_secs(limit_s + 30))
            .send()
            .await
    }

    /// The processes of a machine, as a list.
    pub(crate) async fn processes(&self, app: &str, id: &str) -> Result<Value, ApiError> {
        self.get(&machine_path(app, id, "/ps")).send().await
    }

    /// The lease on a machine, `None` if it is free.
    pub(crate) async fn lease(&self, app: &str, id: &str) -> Result<Option<Value>, ApiError> {
        match self.get(&machine_path(app, id, "/lease")).send().await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a lease up. One that ended meanwhile is no error.
    pub(crate) async fn release_lease(
        &self,
        app: &str,
        id: &str,
        nonce: &str,
    ) -> Result<(), ApiError> {
        let request = self
            .request(mayfly_net::Method::DELETE, &machine_path(app, id, "/lease"))
            .header(
                mayfly_net::HeaderName::from_static("fly-machine-lease-nonce"),
                nonce,
            );
        match self.stream(request).await {
            Err(error) if error.status() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// A scheduled machine's next run and the last ones.
    pub(crate) async fn schedule(&self, app: &str, id: &str) -> Result<Value, ApiError> {
        self.get(&machine_path(app, id, "/schedule")).send().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_says_only_what_was_asked() {
        let launch = Launch::default();
        assert_eq!(launch.body(), json!({ "config": {} }));
        let launch = Launch {
            name: Some("one".to_owned()),
            region: Some("iad".to_owned()),
            skip_launch: true,
            current_version: Some("01H".to_owned()),
            ..launch
        };
        assert_eq!(
            launch.body(),
            json!({ "config": {}, "name": "one", "region": "iad", "current_version": "01H", "skip_launch": true })
        );
    }
}
