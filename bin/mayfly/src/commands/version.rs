use clap::Args;
use serde_json::json;

use crate::context::{Context, JsonFlag};
use crate::program;

#[derive(Args, Debug)]
pub(crate) struct Version {
    #[command(flatten)]
    json: JsonFlag,
}

const COMMIT: &str = match option_env!("MAYFLY_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
const BUILD_DATE: &str = match option_env!("MAYFLY_BUILD_DATE") {
    Some(date) => date,
    None => "unknown",
};

impl Version {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let (name, version) = (program::name(), env!("CARGO_PKG_VERSION"));
        let os = std::env::consts::OS;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if self.json.json {
            let document = json!({
                "Name": name,
                "Version": version,
                "Commit": COMMIT,
                "BuildDate": BUILD_DATE,
                "OS": os,
                "Architecture": architecture,
            });
            return Ok(context.out.json_line(&document)?);
        }
        let line = format!(
            "{name} v{version} {os}/{architecture} Commit: {COMMIT} BuildDate: {BUILD_DATE}"
        );
        Ok(context.out.line(&line)?)
    }
}
