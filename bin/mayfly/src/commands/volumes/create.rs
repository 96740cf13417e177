use clap::{ArgAction, Args};
use mayfly_wire::{AppVolume, CreateVolume};
use serde_json::json;

use super::{describe, is_usable};
use crate::commands::launch::region_codes;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::machine_config::SizeFlags;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  volumes create data --size 10 --region iad\n  volumes create data -n 2 -r fra --yes"
)]
pub(crate) struct Create {
    /// Name of the volume: lower-case letters, digits and underscores
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    app: AppFlags,
    /// Region of the volume, and of the machine that is to have it
    #[arg(short, long, value_name = "CODE")]
    region: Option<String>,
    /// Size in GB
    #[arg(short, long, default_value_t = 1, value_name = "GB")]
    size: i64,
    /// How many to create
    #[arg(short = 'n', long, default_value_t = 1, value_name = "COUNT")]
    count: u32,
    /// Days that snapshots are kept
    #[arg(long, value_name = "DAYS")]
    snapshot_retention: Option<i64>,
    /// Make snapshots every day (this cloud makes none yet)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    scheduled_snapshots: Option<bool>,
    /// Prefer a host without a volume of the same name
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    require_unique_zone: bool,
    /// Prefer a host without any volume of the app
    #[arg(long)]
    unique_zone_app_wide: bool,
    /// Create the volume from this snapshot
    #[arg(long, value_name = "ID")]
    snapshot_id: Option<String>,
    /// ext4, or raw for a block device instead of a directory
    #[arg(long, value_name = "TYPE")]
    fstype: Option<String>,
    #[arg(long, hide = true)]
    no_encryption: bool,
    #[arg(long, hide = true, value_name = "ID")]
    host_dedication_id: Option<String>,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
    #[command(flatten)]
    vm: SizeFlags,
    #[command(flatten)]
    json: JsonFlag,
}

const WARNING: &str = "Warning: a volume is on one host, and nothing copies its data to another. An app with a single volume is \
                       down, and its data is lost, with that host. Create two or more, and have the app keep them alike.";

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (api, app) = (context.api()?, self.app.require()?);
        let there = api.volumes(&app).await?;
        let namesakes = there
            .iter()
            .filter(|volume| volume.name == self.name && is_usable(volume));
        if !self.yes && namesakes.count() + self.count as usize <= 1 {
            context.out.note(WARNING);
            let question = format!("Create a single volume {} for app {app}?", self.name);
            if !context.out.confirm(&question)? {
                return Ok(());
            }
        }
        let region = match &self.region {
            Some(region) => Some(region.clone()),
            None if context.out.can_ask() => {
                let codes = region_codes(&api).await?;
                match codes.as_slice() {
                    [] | [_] => None,
                    codes => Some(codes[context.out.choose("Region", codes, "--region")?].clone()),
                }
            }
            None => None,
        };
        let wanted = CreateVolume {
            name: Some(self.name.clone()),
            region,
            size_gb: Some(self.size),
            require_unique_zone: Some(self.require_unique_zone),
            unique_zone_app_wide: Some(true).filter(|_| self.unique_zone_app_wide),
            snapshot_retention: self.snapshot_retention,
            auto_backup_enabled: self.scheduled_snapshots,
            snapshot_id: self.snapshot_id.clone(),
            fstype: self.fstype.clone(),
            compute: self.vm.guest()?,
            ..CreateVolume::default()
        };
        let mut made: Vec<AppVolume> = Vec::new();
        for _ in 0..self.count {
            let volume = api.create_volume(&app, &wanted).await?;
            if !self.json.json {
                describe(context, &app, &volume)?;
            }
            made.push(volume);
        }
        if self.json.json {
            let document = match made.as_slice() {
                [one] => json!(one),
                all => json!(all),
            };
            context.out.json(&document)?;
        }
        Ok(())
    }
}
