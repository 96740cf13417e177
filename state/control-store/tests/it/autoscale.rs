use mayfly_control_store::{AutoscaleAction, AutoscaleChange, NewAutoscaleRule};
use mayfly_types::{AppId, MachineId};

use crate::fixture::{Cloud, by, on_both_engines};

on_both_engines!(
    rules_are_set_and_taken_away,
    one_change_of_a_rule_is_under_way,
    an_app_takes_its_rules_along,
);

fn rule(group: &str, region: Option<&str>, min: usize, max: usize) -> NewAutoscaleRule {
    NewAutoscaleRule {
        group: group.to_owned(),
        region: region.map(|code| code.parse().unwrap()),
        min,
        max,
    }
}

fn change(app: AppId, number: u8, action: AutoscaleAction) -> AutoscaleChange {
    AutoscaleChange {
        machine_id: MachineId::from_random([number; 14]),
        app_id: app,
        group: "web".to_owned(),
        scope: None,
        region: "iad".parse().unwrap(),
        action,
        reason: "it is busy".to_owned(),
        began_at: by(20).at,
    }
}

async fn rules_are_set_and_taken_away(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let rules = vec![rule("web", None, 1, 3), rule("web", Some("nrt"), 0, 2)];
    store
        .set_autoscale_rules(app.id, rules, by(10))
        .await
        .unwrap();
    let again = vec![rule("web", None, 2, 9)];
    store
        .set_autoscale_rules(app.id, again, by(11))
        .await
        .unwrap();
    let found = store.autoscale_rules(Some(app.id)).await.unwrap();
    let bounds: Vec<_> = found
        .iter()
        .map(|rule| {
            (
                rule.region.as_ref().map(ToString::to_string),
                rule.min,
                rule.max,
            )
        })
        .collect();
    assert_eq!(bounds, [(None, 2, 9), (Some("nrt".to_owned()), 0, 2)]);
    assert!(store.directory_apps().await.unwrap()[&app.id].autoscaled);
    assert_eq!(store.autoscale_rules(None).await.unwrap(), found);

    let gone = found[1..].to_vec();
    store
        .remove_autoscale_rules(app.id, gone, by(12))
        .await
        .unwrap();
    assert_eq!(
        store.autoscale_rules(Some(app.id)).await.unwrap(),
        found[..1]
    );
    store
        .remove_autoscale_rules(app.id, found, by(13))
        .await
        .unwrap();
    assert_eq!(store.autoscale_rules(None).await.unwrap(), []);
    assert!(!store.directory_apps().await.unwrap()[&app.id].autoscaled);
    let mut kinds = cloud.kinds().await;
    kinds.retain(|kind| kind.starts_with("autoscale."));
    assert_eq!(
        kinds,
        [
            "autoscale.rule.set",
            "autoscale.rule.set",
            "autoscale.rule.set",
            "autoscale.rule.remove",
            "autoscale.rule.remove"
        ]
    );
}

async fn one_change_of_a_rule_is_under_way(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let rules = vec![rule("web", None, 1, 3)];
    store
        .set_autoscale_rules(app.id, rules, by(10))
        .await
        .unwrap();
    let first = change(app.id, 1, AutoscaleAction::Grow);
    let begin = store.begin_autoscale_change(first.clone(), by(20));
    assert!(begin.await.unwrap());
    let second = change(app.id, 2, AutoscaleAction::Shrink);
    let begin = store.begin_autoscale_change(second.clone(), by(21));
    assert!(!begin.await.unwrap());
    let open = store.autoscale_changes().await.unwrap();
    assert_eq!(open, std::slice::from_ref(&first));

    let problem = Some("no room".to_owned());
    let end = store.end_autoscale_change(first.clone(), problem, by(22));
    end.await.unwrap();
    let rule = store.autoscale_rules(None).await.unwrap().remove(0);
    assert_eq!((rule.failures, rule.changed_at), (1, Some(by(22).at)));
    let said = rule.last_change.unwrap();
    assert!(
        said.ends_with("not made in iad: no room (it is busy)"),
        "{said}"
    );
    // Its end is told once.
    store
        .end_autoscale_change(first, None, by(23))
        .await
        .unwrap();
    let begin = store.begin_autoscale_change(second.clone(), by(24));
    assert!(begin.await.unwrap());
    store
        .end_autoscale_change(second, None, by(25))
        .await
        .unwrap();
    let rule = store.autoscale_rules(None).await.unwrap().remove(0);
    assert_eq!((rule.failures, rule.changed_at), (0, Some(by(25).at)));
    let mut kinds = cloud.kinds().await;
    kinds.retain(|kind| kind.starts_with("autoscale.") && kind != "autoscale.rule.set");
    assert_eq!(
        kinds,
        [
            "autoscale.grow",
            "autoscale.failed",
            "autoscale.shrink",
            "autoscale.shrunk"
        ]
    );
}

async fn an_app_takes_its_rules_along(cloud: Cloud) {
    let store = &cloud.store;
    let app = cloud.app("web").await;
    let rules = vec![rule("web", None, 1, 3)];
    store
        .set_autoscale_rules(app.id, rules, by(10))
        .await
        .unwrap();
    let begun = change(app.id, 1, AutoscaleAction::Grow);
    store.begin_autoscale_change(begun, by(11)).await.unwrap();
    store.delete_app(app.id, by(12)).await.unwrap();
    assert_eq!(store.autoscale_rules(None).await.unwrap(), []);
    assert_eq!(store.autoscale_changes().await.unwrap(), []);
}
