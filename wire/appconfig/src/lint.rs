//! Configurations that are valid and probably wrong: the documented common mistakes, each with its reason and remedy.

mod network;
mod process;
mod secret;
mod storage;

use crate::Reading;
use crate::config::AppConfig;
use crate::problem::Problem;

/// What is known of an app beside its configuration. Everything may be unknown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Ports its Dockerfile exposes.
    pub exposed_ports: Vec<i64>,
    /// The tool that changes its database's schema, and the command that does.
    pub migration: Option<(String, String)>,
    /// A runtime that needs more memory than small machines have, such as Node.
    pub hungry_runtime: Option<String>,
}

/// One mistake that is looked for.
struct Rule {
    name: &'static str,
    find: fn(&AppConfig, &Facts, &mut Found),
}

/// Collects what a rule finds, under the rule's name.
struct Found {
    rule: &'static str,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, path: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) {
        self.problems
            .push(Problem::warning(path, text).rule(self.rule).remedy(remedy));
    }
}

const RULES: [Rule; 15] = [
    Rule {
        name: "port-mismatch",
        find: network::port_mismatch,
    },
    Rule {
        name: "binds-localhost",
        find: network::binds_localhost,
    },
    Rule {
        name: "check-hits-database",
        find: network::check_hits_database,
    },
    Rule {
        name: "no-checks",
        find: network::no_checks,
    },
    Rule {
        name: "no-concurrency",
        find: network::no_concurrency,
    },
    Rule {
        name: "no-force-https",
        find: network::no_force_https,
    },
    Rule {
        name: "stateful-min-zero",
        find: storage::stateful_min_zero,
    },
    Rule {
        name: "single-volume-autostop",
        find: storage::single_volume_autostop,
    },
    Rule {
        name: "volume-multiple-machines",
        find: storage::volume_multiple_machines,
    },
    Rule {
        name: "release-command-volume",
        find: storage::release_command_volume,
    },
    Rule {
        name: "missing-release-command",
        find: process::missing_release_command,
    },
    Rule {
        name: "short-kill-timeout",
        find: process::short_kill_timeout,
    },
    Rule {
        name: "suspend-memory",
        find: process::suspend_memory,
    },
    Rule {
        name: "no-swap",
        find: process::no_swap,
    },
    Rule {
        name: "secret-in-env",
        find: secret::secret_in_env,
    },
];

impl Reading {
    /// The likely mistakes, without those a comment `# mayfly: allow <rule>` switches off.
    pub fn lint(&self, facts: &Facts) -> Vec<Problem> {
        let mut problems = lint(&self.config, facts);
        let allowed = self.source.allowed_rules();
        problems.retain(|problem| problem.rule.is_none_or(|rule| !allowed.contains(&rule)));
        self.source.locate(&mut problems);
        problems
    }
}

/// The likely mistakes of a configuration that has no file.
pub fn lint(config: &AppConfig, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in &RULES {
        let mut found = Found {
            rule: rule.name,
            problems: Vec::new(),
        };
        (rule.find)(config, facts, &mut found);
        problems.append(&mut found.problems);
    }
    problems
}

/// The names of all rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.name)
}
