use std::collections::BTreeMap;

use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::optional_fields::optional_fields;
use crate::{GoDuration, Guest};

optional_fields! {
    /// Body of a deployment. What is left out is as in the app's newest complete release.
    pub struct CreateRelease {
        /// The app's configuration, as JSON.
        pub config: Value,
        /// Only machines' image, secrets and release change; their configuration stays.
        pub keep_config: bool,
        /// With `keep_config`: also the machines that no deployment made. Of theirs only secrets and release change.
        pub all_machines: bool,
        pub image: String,
        pub strategy: String,
        /// Below 1 a share of the group, else a count.
        pub max_unavailable: f64,
        /// How many machines of a group may be changed at once, whatever the strategy allows.
        pub max_concurrent: i64,
        /// What machines that are replaced by others are stopped with, instead of their own signal.
        pub stop_signal: String,
        pub wait_timeout: GoDuration,
        pub release_command_timeout: GoDuration,
        pub skip_release_command: bool,
        pub smoke_checks: bool,
        /// A second machine, or a standby, for groups that have none.
        pub ha: bool,
        pub update_only: bool,
        /// Where groups without machines get their first, the first of them above all; those with machines get one
        /// where they have none.
        pub regions: Vec<String>,
        pub only_regions: Vec<String>,
        pub exclude_regions: Vec<String>,
        pub only_machines: Vec<String>,
        pub exclude_machines: Vec<String>,
        pub process_groups: Vec<String>,
        /// The size of first machines of groups whose configuration names none.
        pub guest: Guest,
        /// In GB: of the volumes that an app's first deployment makes, instead of what the configuration says.
        pub volume_initial_size: i64,
        pub description: String,
    }

    pub struct RollbackRelease {
        /// The release to go back to; the one before the newest complete one without it.
        pub version: i64,
        /// Leave the app's secrets as they are.
        pub keep_secrets: bool,
    }

    /// How many machines an app shall have.
    pub struct ScaleCount {
        /// By process group: `3`, or a change such as `+1`. An empty name is `app`, or the only group.
        pub counts: BTreeMap<String, String>,
        /// Where; the regions the app is in unless named.
        pub regions: Vec<String>,
        /// Below 0: no limit.
        pub max_per_region: i64,
        /// Added to the environment of new machines.
        pub env: BTreeMap<String, String>,
        /// New machines get new volumes, even if others are free.
        pub with_new_volumes: bool,
        /// Only say what would be done.
        pub plan: bool,
    }

    /// Another organization for an app.
    pub struct MoveApp {
        pub org_slug: String,
        /// Machines count as up once they run.
        pub skip_health_checks: bool,
        /// How long each machine may take to be up.
        pub wait_timeout: GoDuration,
    }

    /// Other limits of concurrent work for an app's services. What is left out stays.
    pub struct ScaleConcurrency {
        /// Above it, other machines are preferred, and further ones started.
        pub soft_limit: i64,
        /// Above it, a machine gets nothing more; 0: without end.
        pub hard_limit: i64,
        /// What is counted: `connections` or `requests`.
        #[serde(rename = "type")]
        pub limit_type: String,
        /// Only the services of this group.
        pub process_group: String,
    }

    /// How many machines of a group there shall be at least and at most; the load decides.
    pub struct SetAutoscale {
        /// The app's default group unless named.
        pub process_group: String,
        pub min: i64,
        pub max: i64,
        /// In each of these; in all regions together unless named.
        pub regions: Vec<String>,
    }

    /// Another size for an app's machines.
    pub struct ScaleVm {
        /// A preset such as `shared-cpu-2x`.
        pub size: String,
        pub memory_mb: i64,
        /// Only the machines of this group.
        pub process_group: String,
    }
}

/// A group whose machines come and go with the load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoscale {
    pub process_group: String,
    /// The region this is for; all others together without one.
    pub region: Option<String>,
    pub min: usize,
    pub max: usize,
    pub machines: usize,
    pub running: usize,
    /// Those that the load has made.
    pub created: usize,
    /// What running machines have to do, in percent of their soft limits; nothing if no edge was heard.
    pub load_percent: Option<u64>,
    /// What is being done.
    pub under_way: Option<String>,
    pub changed_at: Option<String>,
    pub last_change: Option<String>,
}

/// A release as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    pub id: String,
    pub version: i64,
    /// `queued`, `running`, `complete`, `failed`, `cancelled` or `superseded`.
    pub status: String,
    /// What a running release is at: `release_command`, `canary`, `machines` or `switch`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_ref: String,
    pub strategy: String,
    pub secrets_version: u64,
    pub user: ReleaseUser,
    pub created_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// With the answer to its creation: what happens to it is in the event log after this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_after: Option<u64>,
    /// Digests of the secrets by name; where one release is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeMap<String, String>>,
    /// How many machines there were when it was live, by process group and region; where one release is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<BTreeMap<String, BTreeMap<String, i64>>>,
    /// Shown with one release, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseUser {
    pub email: String,
}
