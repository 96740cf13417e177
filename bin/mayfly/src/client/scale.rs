use std::time::Duration;

use mayfly_wire::{
    Autoscale, Release, ScaleConcurrency, ScaleCount, ScaleVm, SetAutoscale, SizeAdvice,
};
use serde_json::{Value, json};

use super::{Api, ApiError, encoded};

/// A change of how many machines a region has.
#[derive(Clone, Debug)]
pub(crate) struct PlannedScale(Value);

impl PlannedScale {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> i64 {
        self.0.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(crate) fn group(&self) -> &str {
        self.text("group")
    }

    pub(crate) fn region(&self) -> &str {
        self.text("region")
    }

    pub(crate) fn size(&self) -> &str {
        self.text("size")
    }

    pub(crate) fn new_volumes(&self) -> i64 {
        self.number("new_volumes")
    }

    pub(crate) fn reused_volumes(&self) -> i64 {
        self.number("reused_volumes")
    }

    pub(crate) fn delta(&self) -> i64 {
        self.number("to") - self.number("from")
    }
}

impl Api {
    /// What changes, and the release that changes it, unless nothing does or only the plan was asked for.
    pub(crate) async fn scale_count(
        &self,
        app: &str,
        wanted: &ScaleCount,
    ) -> Result<(Vec<PlannedScale>, Option<Release>), ApiError> {
        let path = format!("/v1/apps/{}/scale/count", encoded(app));
        let mut answer = self.post(&path).json(json!(wanted)).send().await?;
        let plan = answer.get_mut("plan").map(Value::take);
        let plan = match plan {
            Some(Value::Array(plan)) => plan.into_iter().map(PlannedScale).collect(),
            _ => Vec::new(),
        };
        Ok((plan, release(&mut answer, &path)?))
    }

    pub(crate) async fn scale_concurrency(
        &self,
        app: &str,
        wanted: &ScaleConcurrency,
    ) -> Result<Release, ApiError> {
        let path = format!("/v1/apps/{}/scale/concurrency", encoded(app));
        let mut answer = self.post(&path).json(json!(wanted)).send().await?;
        release(&mut answer, &path)?.ok_or(ApiError::Unexpected {
            call: path,
            what: "it holds no release",
        })
    }

    /// Which sizes suit the app's groups, by what their machines used.
    pub(crate) async fn size_advice(&self, app: &str) -> Result<Vec<SizeAdvice>, ApiError> {
        let path = format!("/v1/apps/{}/scale/advice", encoded(app));
        let answer = self.get(&path).send().await?;
        serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
            call: path,
            what: "it is no list of groups",
        })
    }

    /// Which groups are scaled by load: none where the cloud does not know of that.
    pub(crate) async fn autoscale(&self, app: &str) -> Result<Vec<Autoscale>, ApiError> {
        let path = autoscale_path(app);
        match self.get(&path).send().await {
            Err(ApiError::Refused { status: 404, .. }) => Ok(Vec::new()),
            answer => rules(answer?, path),
        }
    }

    pub(crate) async fn set_autoscale(
        &self,
        app: &str,
        wanted: &SetAutoscale,
    ) -> Result<Vec<Autoscale>, ApiError> {
        let path = autoscale_path(app);
        let answer = self.put(&path).json(json!(wanted)).send().await?;
        rules(answer, path)
    }

    /// Takes rules away; returns those that are left.
    pub(crate) async fn disable_autoscale(
        &self,
        app: &str,
        group: Option<&str>,
        regions: &[String],
    ) -> Result<Vec<Autoscale>, ApiError> {
        let mut path = autoscale_path(app);
        let group = group.map(|group| ("process_group", group));
        let regions = regions.iter().map(|code| ("region", code.as_str()));
        for (index, (name, value)) in group.into_iter().chain(regions).enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            path.push_str(&format!("{mark}{name}={}", encoded(value)));
        }
        let answer = self.delete(&path).send().await?;
        rules(answer, path)
    }

    pub(crate) async fn scale_vm(&self, app: &str, wanted: &ScaleVm) -> Result<Release, ApiError> {
        let path = format!("/v1/apps/{}/scale/vm", encoded(app));
        let call = self.post(&path).json(json!(wanted));
        let mut answer = call.patience(Duration::from_secs(120)).send().await?;
        release(&mut answer, &path)?.ok_or(ApiError::Unexpected {
            call: path,
            what: "it holds no release",
        })
    }
}

fn autoscale_path(app: &str) -> String {
    format!("/v1/apps/{}/autoscale", encoded(app))
}

fn rules(answer: Value, call: String) -> Result<Vec<Autoscale>, ApiError> {
    serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
        call,
        what: "it is no list of groups",
    })
}

fn release(answer: &mut Value, path: &str) -> Result<Option<Release>, ApiError> {
    let release = answer.get_mut("release").map(Value::take);
    serde_json::from_value(release.unwrap_or_default()).map_err(|_| ApiError::Unexpected {
        call: path.to_owned(),
        what: "it is no release",
    })
}
