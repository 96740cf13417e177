//! Machines that do one thing and go: release commands, consoles, tests.

use mayfly_wire::{MachineConfig, StopConfig};

use super::{MachineError, command_words, guest, metadata, non_empty, signal};
use crate::config::{AppConfig, MachineCheck};

/// The groups of machines that are no part of the running app.
const RELEASE_GROUP: &str = "fly_app_release_command";
const TEST_GROUP: &str = "fly_app_test_machine_command";
const CONSOLE_GROUP: &str = "fly_app_console";

impl AppConfig {
    /// The machine that runs the release command: no services, no volumes, gone when it ends. `None` without a command.
    ///
    /// Its size is `release_command_vm`; without one the caller decides.
    ///
    /// # Errors
    /// The command is no command line.
    pub fn release_machine_config(&self) -> Result<Option<MachineConfig>, MachineError> {
        let deploy = self.deploy.clone().unwrap_or_default();
        let command = deploy.release_command.unwrap_or_default();
        self.one_off(
            &command,
            "deploy.release_command",
            RELEASE_GROUP,
            "RELEASE_COMMAND",
        )
    }

    /// As [`AppConfig::release_machine_config`], for the command that fills a new database.
    ///
    /// # Errors
    /// The command is no command line.
    pub fn seed_machine_config(&self) -> Result<Option<MachineConfig>, MachineError> {
        let deploy = self.deploy.clone().unwrap_or_default();
        let command = deploy.seed_command.unwrap_or_default();
        self.one_off(
            &command,
            "deploy.seed_command",
            RELEASE_GROUP,
            "RELEASE_COMMAND",
        )
    }

    /// The machine `console` runs in: `console_command`, or the image's own command without one.
    ///
    /// # Errors
    /// The command is no command line.
    pub fn console_machine_config(&self) -> Result<MachineConfig, MachineError> {
        let command = self.console_command.clone().unwrap_or_default();
        let mut machine = self.machine_config(self.default_group(), None)?;
        strip_for_one_off(&mut machine, CONSOLE_GROUP);
        let words = command_words(&command, "console_command")?;
        let mut init = machine.init.take().unwrap_or_default();
        init.cmd = non_empty(words);
        machine.init = Some(init);
        Ok(machine)
    }

    /// The machine that tests the one at `address`.
    ///
    /// # Errors
    /// The app's own configuration has a fault.
    pub fn test_machine_config(
        &self,
        check: &MachineCheck,
        group: &str,
        address: &str,
    ) -> Result<MachineConfig, MachineError> {
        let mut machine = self.machine_config(group, None)?;
        strip_for_one_off(&mut machine, TEST_GROUP);
        let env = machine.env.get_or_insert_default();
        env.insert("FLY_TEST_COMMAND".to_owned(), "1".to_owned());
        env.insert("FLY_TEST_MACHINE_IP".to_owned(), address.to_owned());
        let init = machine.init.get_or_insert_default();
        init.cmd = check.command.clone();
        if check.entrypoint.is_some() || check.image.is_some() {
            init.entrypoint.clone_from(&check.entrypoint);
        }
        machine.image.clone_from(&check.image);
        if check.kill_signal.is_some() || check.kill_timeout.is_some() {
            machine.stop_config = Some(StopConfig {
                timeout: check.kill_timeout,
                signal: check.kill_signal.as_deref().map(signal),
            });
        }
        Ok(machine)
    }

    fn one_off(
        &self,
        command: &str,
        path: &str,
        group: &str,
        variable: &str,
    ) -> Result<Option<MachineConfig>, MachineError> {
        let words = command_words(command, path)?;
        if words.is_empty() {
            return Ok(None);
        }
        let mut machine = self.machine_config(self.default_group(), None)?;
        strip_for_one_off(&mut machine, group);
        machine
            .env
            .get_or_insert_default()
            .insert(variable.to_owned(), "1".to_owned());
        let init = machine.init.get_or_insert_default();
        init.cmd = Some(words);
        let vm = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.release_command_vm.as_ref());
        machine.guest = vm.map(guest::guest);
        Ok(Some(machine))
    }
}

/// A machine that does one thing and goes: nothing of what serves users.
fn strip_for_one_off(machine: &mut MachineConfig, group: &str) {
    machine.services = None;
    machine.checks = None;
    machine.mounts = None;
    machine.statics = None;
    machine.metrics = None;
    machine.schedule = None;
    machine.standbys = None;
    machine.auto_destroy = Some(true);
    machine.restart = Some(mayfly_wire::Restart {
        policy: Some("no".to_owned()),
        max_retries: None,
    });
    machine.dns.get_or_insert_default().skip_registration = Some(true);
    machine.metadata = Some(metadata(group, machine.metadata.take()));
    let env = machine.env.get_or_insert_default();
    env.insert("FLY_PROCESS_GROUP".to_owned(), group.to_owned());
}
