//! Which machines a deployment names by flags such as `--regions`: a name that means nothing is a mistake, not a deployment
//! of nothing.

use mayfly_appconfig::AppConfig;
use mayfly_control_store::{App, Machine};

use super::content::group_of;
use super::machines::is_managed;
use super::options::Options;
use crate::cloud::Cloud;
use crate::error::ApiError;

impl Cloud {
    /// Checks what `options` choose among the machines of an app. Machines may be named by id or name; afterwards they
    /// are by id.
    ///
    /// # Errors
    /// 422 for a region, group or machine that there is none of, and for a choice without any machine.
    pub(super) async fn check_reach(
        &self,
        app: &App,
        options: &mut Options,
        config: Option<&AppConfig>,
    ) -> Result<(), ApiError> {
        let chooses = [
            &options.only_regions,
            &options.exclude_regions,
            &options.only_machines,
            &options.exclude_machines,
            &options.process_groups,
        ];
        if chooses.iter().all(|list| list.is_empty()) {
            return Ok(());
        }
        let mut machines = self.machines_of(app, false).await?;
        machines.retain(|machine| is_managed(machine) || options.all_machines);
        for (field, codes) in [
            ("only_regions", &options.only_regions),
            ("exclude_regions", &options.exclude_regions),
        ] {
            for code in codes {
                if machines.iter().all(|one| one.region.as_str() != code) {
                    let found = self.regions().find(code);
                    found.map_err(|text| ApiError::invalid(format!("{field}: {text}")))?;
                }
            }
        }
        let mut groups: Vec<String> = machines.iter().map(group_of).collect();
        groups.extend(
            config
                .iter()
                .flat_map(|config| config.groups())
                .map(str::to_owned),
        );
        groups.sort_unstable();
        groups.dedup();
        if let Some(unknown) = options
            .process_groups
            .iter()
            .find(|name| !groups.contains(name))
        {
            return Err(ApiError::invalid(format!(
                "process_groups: there is no process group \"{unknown}\"; use one of {}",
                groups.join(", ")
            )));
        }
        by_id("only_machines", &mut options.only_machines, &machines)?;
        by_id("exclude_machines", &mut options.exclude_machines, &machines)?;
        let concerned = |machine: &&Machine| {
            let region = machine.region.as_str();
            options.concerns(machine.id.as_str(), region, &group_of(machine))
        };
        let has_machines = |group: &str| machines.iter().any(|one| group_of(one) == group);
        let makes_some = config.is_some_and(|config| {
            let mut groups = config.groups().into_iter();
            groups.any(|group| options.fills(group) && !has_machines(group))
        });
        if machines.iter().any(|one| concerned(&one)) || makes_some || !options.regions.is_empty() {
            return Ok(());
        }
        let there = machines.iter().map(|one| {
            format!(
                "{} (group {}, region {})",
                one.id,
                group_of(one),
                one.region
            )
        });
        Err(ApiError::invalid(format!(
            "no machine of app {} is chosen: there are {}",
            app.name,
            there.collect::<Vec<_>>().join(", ")
        )))
    }
}

fn by_id(field: &str, wanted: &mut [String], machines: &[Machine]) -> Result<(), ApiError> {
    for name in wanted {
        let is_it = |one: &&Machine| one.id.as_str() == *name || one.name.as_str() == *name;
        match machines.iter().find(is_it) {
            Some(machine) => *name = machine.id.to_string(),
            None => {
                return Err(ApiError::invalid(format!(
                    "{field}: the app has no machine {name} that deployments look after"
                )));
            }
        }
    }
    Ok(())
}
