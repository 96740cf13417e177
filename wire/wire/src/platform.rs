use serde::{Deserialize, Serialize};

/// Answer of the region list; the capitals are the API's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Regions {
    #[serde(rename = "Regions")]
    pub regions: Vec<RegionInfo>,
    #[serde(rename = "Nearest")]
    pub nearest: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionInfo {
    pub code: String,
    pub name: String,
    pub latitude: f64,
    pub longitude: f64,
    pub gateway_available: bool,
    pub requires_paid_plan: bool,
    pub deprecated: bool,
    pub capacity: i64,
    /// `africa`, `asia_pacific`, `europe`, `north_america` or `south_america`.
    pub geo_region: String,
    pub mpg_available: bool,
}

/// A size a machine can have, with the memory it can be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmSize {
    pub name: String,
    pub cpu_kind: String,
    pub cpus: u32,
    pub memory_mb: u32,
    pub min_memory_mb: u32,
    pub max_memory_mb: u32,
    pub memory_step_mb: u32,
}
