//! Where a release makes machines.

use std::collections::BTreeMap;

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, wait_until};
use serde_json::Value;

use super::{CHECKED, Shop, id};

const REGIONS: &str = "iad,ord,lhr";

fn shop() -> Shop {
    let stage = Stage::set_with(CloudOptions {
        arguments: vec!["--regions".to_owned(), REGIONS.to_owned()],
        ..CloudOptions::default()
    });
    let cli = stage.cloud.cli();
    Shop { stage, cli }
}

/// How many machines of a group are in which region.
fn places(shop: &Shop, group: &str) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for machine in shop.machines(group) {
        let region = machine["region"].as_str().unwrap().to_owned();
        *places.entry(region).or_default() += 1;
    }
    places
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let pairs = pairs.iter();
    pairs
        .map(|(code, count)| ((*code).to_owned(), *count))
        .collect()
}

#[test]
fn first_machines_are_where_the_deployment_says() {
    let shop = shop();
    let write = |more: &str| {
        shop.write(&format!("{CHECKED}{more}"));
    };
    write("");
    let wrong = shop.deploy(&["--region", "iad,xyz"]);
    let why = wrong.refused();
    assert!(
        why.contains("regions: region \"xyz\" has no hosts here; use one of iad, ord, lhr"),
        "{why}"
    );
    let wrong = shop.deploy(&["--region", "iad", "--update-only"]);
    assert!(wrong.refused().contains("--update-only"), "{wrong:?}");
    assert_eq!(places(&shop, "app"), counts(&[]));

    // The primary region, wherever the control plane's own is; then one of each that is named.
    shop.deploy(&["--primary-region", "lhr"]).ok();
    assert_eq!(places(&shop, "app"), counts(&[("lhr", 2)]));
    for strategy in ["rolling", "bluegreen"] {
        let code = if strategy == "rolling" { "ord" } else { "iad" };
        let said = shop.deploy(&["--region", &format!("lhr,{code}"), "--strategy", strategy]);
        let said = format!("{}{}", said.ok(), said.stderr);
        let created = format!("Creating a machine of group app in {code}");
        assert_eq!(said.matches(&created).count(), 1, "{said}");
    }
    assert_eq!(
        places(&shop, "app"),
        counts(&[("iad", 1), ("lhr", 2), ("ord", 1)])
    );
    let open = |machine: &Value| machine["cordoned"] != true && machine["state"] == "started";
    assert!(shop.machines("app").iter().all(open));

    // What is not this release's business is there all the same.
    let before: Vec<String> = shop
        .machines("app")
        .iter()
        .map(|one| id(one).to_owned())
        .collect();
    shop.deploy(&["--regions", "ord", "--region", "iad,ord"])
        .ok();
    let after = shop.machines("app");
    assert!(
        after.iter().map(id).eq(before.iter().map(String::as_str)),
        "{after:?}"
    );

    // A new group goes to all regions named; one without services keeps its standby.
    write("[processes]\napp = \"\"\nworker = \"\"\n");
    shop.deploy(&["--region", "ord,iad,lhr", "--process-groups", "worker"])
        .ok();
    assert_eq!(
        places(&shop, "worker"),
        counts(&[("iad", 1), ("lhr", 1), ("ord", 2)])
    );
}

#[test]
fn a_release_that_fails_leaves_nothing_in_further_regions() {
    let shop = shop();
    shop.write(CHECKED);
    shop.deploy(&["--region", "iad,ord", "--ha=false"]).ok();
    assert_eq!(places(&shop, "app"), counts(&[("iad", 1), ("ord", 1)]));
    shop.write(&format!(
        "{CHECKED}[experimental]\nexec = [\"/bin/sh\", \"-c\", \"exit 3\"]\n"
    ));
    let failed = shop.deploy(&["--region", "lhr", "--strategy", "bluegreen"]);
    assert!(failed.refused().contains("exit"), "{failed:?}");
    wait_until("the new machines are gone", || {
        places(&shop, "app") == counts(&[("iad", 1), ("ord", 1)])
    });
}
