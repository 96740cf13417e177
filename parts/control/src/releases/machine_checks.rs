//! Machine checks: programs in machines of their own that test each machine with the release before it counts as up.

use std::collections::BTreeSet;
use std::sync::Arc;

use mayfly_control_store::{App, Machine, MachineFilter, Release};
use mayfly_deploy::{Readiness, Strategy};
use mayfly_types::MachineId;

use super::content::{CHECK_NUMBER, Content, RELEASE_ID, TESTS, written};
use super::error::StepError;
use super::machines::Fleet;
use super::make::Made;
use super::one_off::{Outcome, outcome};
use super::options::Options;
use crate::cloud::Cloud;

/// What the checks of one release need to know.
pub(super) struct MachineChecks<'a> {
    pub(super) cloud: &'a Arc<Cloud>,
    pub(super) app: &'a App,
    pub(super) release: &'a Release,
    pub(super) content: Content<'a>,
    pub(super) options: &'a Options,
}

impl MachineChecks<'_> {
    /// Holds back machines that are up by themselves until their checks have passed, one check after the other; those in
    /// `told` have passed them. Machines that do not run cannot be tested, and `immediate` waits for nothing.
    pub(super) async fn judge(
        &self,
        fleet: &mut Fleet,
        told: &BTreeSet<MachineId>,
    ) -> Result<(), StepError> {
        if self.options.strategy() == Strategy::Immediate {
            return Ok(());
        }
        let Some(config) = self.content.config else {
            return Ok(());
        };
        let mut tests: Option<Vec<Machine>> = None;
        for member in &mut fleet.members {
            let is_due = member.release == Some(Readiness::Up)
                && member.running
                && !told.contains(&member.id)
                && !config.machine_checks(&member.group).is_empty();
            if !is_due {
                continue;
            }
            if tests.is_none() {
                tests = Some(tests_of(self.cloud, self.release).await?);
            }
            let tests = tests.as_deref().unwrap_or_default();
            let tested = &fleet.machines[&member.id];
            member.release = Some(self.test(tested, &member.group, tests).await?);
        }
        Ok(())
    }

    async fn test(
        &self,
        tested: &Machine,
        group: &str,
        tests: &[Machine],
    ) -> Result<Readiness, StepError> {
        let checks = self
            .content
            .config
            .map(|config| config.machine_checks(group))
            .unwrap_or_default();
        for (number, check) in checks.iter().enumerate() {
            let command = check.command.as_deref().unwrap_or_default().join(" ");
            let test = tests.iter().find(|test| {
                let has = |key: &str, value: &str| {
                    test.spec.metadata.get(key).map(String::as_str) == Some(value)
                };
                has(TESTS, tested.id.as_str()) && has(CHECK_NUMBER, &number.to_string())
            });
            let Some(test) = test else {
                self.cloud
                    .note(
                        self.release,
                        &format!("Test machine for {}: {command}", tested.id),
                    )
                    .await?;
                let config = written(&self.content.test(check, number, tested)?);
                let key = format!("test-{}-{number}", tested.id);
                self.cloud
                    .make(
                        self.app,
                        self.release,
                        config,
                        key,
                        Made::open(tested.region.clone()),
                    )
                    .await?;
                return Ok(Readiness::Waiting);
            };
            let name = format!("machine check `{command}`");
            let patience = self.options.rules().wait_timeout;
            match outcome(self.cloud, test, &name, patience).await? {
                Outcome::Done => {}
                Outcome::Running => return Ok(Readiness::Waiting),
                Outcome::Failed(reason) => return Ok(Readiness::Broken(reason)),
            }
        }
        Ok(Readiness::Up)
    }
}

/// The test machines of a release, also those that are gone.
async fn tests_of(cloud: &Cloud, release: &Release) -> Result<Vec<Machine>, StepError> {
    let filter = MachineFilter {
        app: Some(release.app_id),
        include_deleted: true,
        ..MachineFilter::default()
    };
    let mut machines = cloud.store.machines(filter).await?;
    machines.retain(|machine| {
        let metadata = &machine.spec.metadata;
        metadata.contains_key(TESTS)
            && metadata.get(RELEASE_ID).map(String::as_str) == Some(release.id.as_str())
    });
    Ok(machines)
}

/// Ends the tests of a release that is at its end.
pub(super) async fn clear(cloud: &Cloud, release: &Release) -> Result<(), StepError> {
    for test in tests_of(cloud, release).await? {
        if test.destroyed_at.is_none() {
            cloud
                .destroy_machine(&test, true, &cloud.by_platform())
                .await?;
        }
    }
    Ok(())
}
