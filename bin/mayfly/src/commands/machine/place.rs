use clap::Args;
use serde_json::{Map, Value, json};

use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{MachineConfig, SizeFlags, pairs};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct Place {
    #[command(flatten)]
    app: AppFlags,
    /// Organization the machines would belong to
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// How many machines to place; 0 asks how many would fit
    #[arg(long, default_value_t = 0)]
    count: u32,
    /// Regions to place in, separated by commas (default: any)
    #[arg(long, default_value = "any", value_name = "CODES")]
    region: String,
    /// Name of the volume the machines would mount
    #[arg(long, value_name = "NAME")]
    volume_name: Option<String>,
    /// Size of that volume in GB
    #[arg(long, value_name = "GB")]
    volume_size: Option<u64>,
    /// What matters how much, such as region=5,spread=10
    #[arg(long, value_delimiter = ',', value_name = "NAME=WEIGHT")]
    weights: Vec<String>,
    #[command(flatten)]
    size: SizeFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Place {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = match (self.org, self.app.find()?) {
            (Some(org), _) => org,
            (None, Some(app)) => api.app(&app).await?.org_slug().to_owned(),
            (None, None) => "personal".to_owned(),
        };
        let mut config = MachineConfig::new();
        self.size.apply(&mut config)?;
        let mut weights = Map::new();
        for (name, weight) in pairs(&self.weights, "--weights")? {
            let weight: i64 = weight.parse().map_err(|_| {
                Failure::new(format!("--weights: `{weight}` is not a whole number"))
            })?;
            weights.insert(name, Value::from(weight));
        }
        let mut request = json!({
            "compute": config.remove("guest"),
            "region": self.region,
            "count": self.count,
            "org_slug": org,
        });
        if let Some(name) = self.volume_name {
            request["volume_name"] = Value::from(name);
        }
        if let Some(size_gb) = self.volume_size {
            request["volume_size_bytes"] = Value::from(size_gb.saturating_mul(1_000_000_000));
        }
        if !weights.is_empty() {
            request["weights"] = Value::from(weights);
        }
        let mut answer = api.placements(request).await?;
        let mut regions = Vec::new();
        for key in ["Regions", "regions"] {
            if let Some(Value::Array(listed)) = answer.get_mut(key).map(Value::take) {
                regions = listed;
            }
        }
        let name = |region: &Value| {
            let name = region.get("Region").or_else(|| region.get("region"));
            name.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        regions.sort_by_key(name);
        if self.json.json {
            return Ok(context.out.json(&Value::from(regions))?);
        }
        let mut table = Table::new(&["Region", "Count"]);
        for region in &regions {
            let count = region.get("Count").or_else(|| region.get("count"));
            table.row([
                &name(region),
                &count.map(Value::to_string).unwrap_or_default(),
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}
