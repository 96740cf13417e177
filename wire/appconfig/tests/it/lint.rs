//! Each likely mistake is found, alone, and can be allowed.

use std::collections::BTreeSet;

use mayfly_appconfig::{Facts, rules};

use crate::toml;

const SERVICE: &str = "[http_service]\ninternal_port = 8080\nconcurrency = '200,250'\n";

fn found(text: &str, facts: &Facts) -> Vec<(String, usize)> {
    let reading = toml(text);
    assert!(reading.is_valid(), "{:?}", reading.problems);
    reading
        .lint(facts)
        .into_iter()
        .map(|problem| {
            assert!(problem.remedy.is_some_and(|remedy| !remedy.is_empty()));
            (problem.rule.unwrap().to_owned(), problem.line)
        })
        .collect()
}

#[test]
fn every_rule_finds_its_mistake_and_no_other() {
    let mounts = "[mounts]\nsource = 'd'\ndestination = '/data'\n";
    let auto = |how: &str, least: i64| {
        format!("{SERVICE}auto_stop_machines = '{how}'\nmin_machines_running = {least}\n")
    };
    let none = Facts::default();
    let cases: Vec<(&str, String, Facts, usize)> = vec![
        (
            "port-mismatch",
            format!("{SERVICE}[env]\nPORT = 3000\n"),
            none.clone(),
            2,
        ),
        (
            "port-mismatch",
            SERVICE.to_owned(),
            Facts {
                exposed_ports: vec![80],
                ..none.clone()
            },
            2,
        ),
        (
            "binds-localhost",
            "[env]\nHOST = '127.0.0.1'\n".to_owned(),
            none.clone(),
            2,
        ),
        (
            "check-hits-database",
            format!("{SERVICE}[[http_service.checks]]\npath = '/health/db'\n"),
            none.clone(),
            5,
        ),
        (
            "no-checks",
            format!("{SERVICE}[deploy]\nstrategy = 'bluegreen'\n"),
            none.clone(),
            5,
        ),
        (
            "no-concurrency",
            "[http_service]\ninternal_port = 80\nauto_start_machines = true\n".to_owned(),
            none.clone(),
            1,
        ),
        (
            "no-force-https",
            format!("{SERVICE}force_https = false\n"),
            none.clone(),
            4,
        ),
        (
            "stateful-min-zero",
            format!("{}{mounts}", auto("suspend", 0)),
            none.clone(),
            5,
        ),
        (
            "single-volume-autostop",
            format!("{}{mounts}", auto("stop", 1)),
            none.clone(),
            4,
        ),
        (
            "volume-multiple-machines",
            format!("{SERVICE}{mounts}[regions]\niad = 2\n"),
            none.clone(),
            4,
        ),
        (
            "release-command-volume",
            format!("{mounts}[deploy]\nrelease_command = 'migrate /data/db.sqlite'\n"),
            none.clone(),
            5,
        ),
        (
            "missing-release-command",
            SERVICE.to_owned(),
            Facts {
                migration: Some(("Prisma".to_owned(), "npx prisma migrate deploy".to_owned())),
                ..none.clone()
            },
            0,
        ),
        (
            "short-kill-timeout",
            format!("{SERVICE}processes = ['app']\n[processes]\napp = 'a'\nworker = 'w'\n"),
            none.clone(),
            0,
        ),
        (
            "suspend-memory",
            format!("{}[[vm]]\nmemory = '4gb'\ncpus = 2\n", auto("suspend", 0)),
            none.clone(),
            4,
        ),
        (
            "no-swap",
            SERVICE.to_owned(),
            Facts {
                hungry_runtime: Some("Node".to_owned()),
                ..none.clone()
            },
            0,
        ),
        (
            "secret-in-env",
            "[env]\nSTRIPE_SECRET_KEY = 'sk_live_abcdefgh'\n".to_owned(),
            none,
            2,
        ),
    ];
    let mut seen = BTreeSet::new();
    for (rule, text, facts, line) in cases {
        assert_eq!(found(&text, &facts), [(rule.to_owned(), line)], "{text}");
        let allowed = format!("{text}# mayfly: allow {rule}\n");
        assert_eq!(found(&allowed, &facts), [], "{allowed}");
        seen.insert(rule);
    }
    assert_eq!(seen, rules().collect(), "a rule without a case");
}

#[test]
fn a_good_file_has_nothing_to_find() {
    let text = "app = 'good'\nkill_timeout = 30\nswap_size_mb = 512\n[env]\nPORT = '8080'\nLOG_LEVEL = 'info'\n\
                [deploy]\nrelease_command = 'bin/migrate'\n[http_service]\ninternal_port = 8080\nforce_https = true\n\
                auto_stop_machines = 'stop'\nauto_start_machines = true\nmin_machines_running = 0\n\
                [http_service.concurrency]\ntype = 'requests'\nsoft_limit = 100\n[[http_service.checks]]\npath = '/up'\n";
    let facts = Facts {
        exposed_ports: vec![8080],
        migration: Some(("Rails".to_owned(), "bin/rails db:migrate".to_owned())),
        hungry_runtime: Some("Ruby".to_owned()),
    };
    assert_eq!(found(text, &facts), []);
}
