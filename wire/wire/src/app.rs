use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::GoDuration;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of an app's creation. `name` and `app_name` mean the same; without either a name is made.
    pub struct CreateApp {
        pub app_name: String,
        pub name: String,
        pub org_slug: String,
        pub network: String,
        pub app_role_id: String,
        pub enable_subdomains: bool,
        pub idempotency_key: String,
        /// After this time the app goes by itself.
        pub ttl: GoDuration,
    }

    /// How long an app lives from now on; without `ttl`, for good.
    pub struct SetAppTtl {
        pub ttl: GoDuration,
    }

    /// The most an organization may have from now on; what is left out has no limit.
    pub struct SetBudget {
        pub apps: i64,
        pub machines: i64,
        /// How long an app lives that is made without a time of its own.
        pub ttl: GoDuration,
    }

    pub struct CreateOrg {
        pub name: String,
        pub slug: String,
    }
}

/// An app as the API shows it; also the answer to its creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct App {
    pub id: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub name: String,
    pub internal_numeric_id: i32,
    pub network: String,
    /// `pending` before anything ran, `deployed`, or `suspended` when nothing runs.
    pub status: String,
    pub machine_count: usize,
    pub volume_count: usize,
    pub organization: AppOrganization,
    pub cname_target: String,
    pub app_role: String,
    pub hostname: String,
    pub app_url: String,
    /// When the app goes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppOrganization {
    pub name: String,
    pub slug: String,
    pub internal_numeric_id: u64,
}

/// An organization, with the fields that clients of both REST interfaces read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    pub id: String,
    pub internal_numeric_id: u64,
    pub slug: String,
    pub raw_slug: String,
    pub name: String,
    /// `PERSONAL` or `SHARED`.
    #[serde(rename = "type")]
    pub org_type: String,
    pub personal: bool,
    pub paid_plan: bool,
    pub billable: bool,
    /// `CURRENT`: nothing to warn of.
    pub billing_status: String,
    pub provisions_beta_extensions: bool,
    pub remote_builder_image: String,
}
