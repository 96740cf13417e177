use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Guest;
use crate::optional_fields::optional_fields;

optional_fields! {
    /// Body of a volume's creation.
    pub struct CreateVolume {
        pub name: String,
        pub region: String,
        /// 3 unless given.
        pub size_gb: i64,
        /// `true` is taken as a wish that this cloud does not fulfil: see the volume's own `encrypted`.
        pub encrypted: bool,
        /// Prefer a host without a volume of the same name. It is a wish: a region may have one host only.
        pub require_unique_zone: bool,
        /// The same for all volumes of the app.
        pub unique_zone_app_wide: bool,
        /// In days.
        pub snapshot_retention: i64,
        pub auto_backup_enabled: bool,
        /// `ext4` or `raw`.
        pub fstype: String,
        pub snapshot_id: String,
        pub source_volume_id: String,
        /// The machine that is to have it; without effect.
        pub compute: Guest,
        pub compute_image: String,
        /// Of old clients; without effect.
        pub machines_only: bool,
        pub host_dedication_id: String,
    }

    /// Body of a volume's update. What is left out stays.
    pub struct UpdateVolume {
        pub snapshot_retention: i64,
        pub auto_backup_enabled: bool,
    }

    pub struct ExtendVolume {
        /// What it shall have then, not what is added.
        pub size_gb: i64,
    }
}

/// A volume of an app as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppVolume {
    pub id: String,
    pub name: String,
    pub state: String,
    pub size_gb: u32,
    pub region: String,
    /// Volumes of the same zone are on the same host.
    pub zone: String,
    /// Whether the host encrypts it by itself: what is below the host's own disks is not known here.
    pub encrypted: bool,
    pub attached_machine_id: Option<String>,
    /// Of old clients; always `null`.
    pub attached_alloc_id: Option<String>,
    pub created_at: Option<Timestamp>,
    /// Of its filesystem, of `block_size` bytes; 0 as long as the host has not said.
    pub blocks: u64,
    pub block_size: u64,
    pub blocks_free: u64,
    pub blocks_avail: u64,
    pub fstype: String,
    pub snapshot_retention: i64,
    pub auto_backup_enabled: bool,
    pub host_dedication_key: String,
    pub host_status: String,
    /// What it takes of its host's disk (Mayfly's own).
    pub bytes_used: u64,
    /// When the data of one that was destroyed goes (Mayfly's own).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<Timestamp>,
    /// Where an organization's volumes are listed: the app each belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
}

/// What came of an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedVolume {
    pub volume: AppVolume,
    /// The machine sees the new size after its next start.
    pub needs_restart: bool,
}
