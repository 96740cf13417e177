use mayfly_access::{
    Action, AppNumber, Caveat, Denied, Feature, IfPresent, Macaroon, NamedImage, Nonce, OrgNumber,
    Request, caveats_from_json, deploy, header_of, is_macaroon, org, permits, permits_source,
    presented_tokens, read_only,
};
use proptest::prelude::*;
use serde_json::json;

const ORG: u64 = 11;
const APP: u64 = 22;

fn on_app(app: u64, action: Action) -> Request {
    Request {
        now: 1000,
        action,
        org: Some(ORG),
        app: Some(app),
        ..Request::default()
    }
}

fn on_org(action: Action, feature: Option<Feature>) -> Request {
    Request {
        now: 1000,
        action,
        org: Some(ORG),
        feature,
        ..Request::default()
    }
}

#[test]
fn profiles_open_what_they_are_named_for() {
    let deploys = deploy(OrgNumber(ORG), AppNumber(APP));
    let whole_org = org(OrgNumber(ORG));
    let mut reads = whole_org.clone();
    reads.push(read_only(OrgNumber(ORG)));
    let elsewhere = Request {
        org: Some(99),
        ..on_app(APP, Action::READ)
    };
    // request, deploy token, org token, read-only token
    let cases = [
        (on_app(APP, Action::ALL), true, true, false),
        (on_app(APP, Action::READ), true, true, true),
        (on_app(23, Action::READ), false, true, true),
        (on_app(23, Action::WRITE), false, true, false),
        (on_org(Action::READ, None), true, true, true),
        (on_org(Action::CREATE, None), false, true, false),
        (
            on_org(Action::CREATE, Some(Feature::WireGuard)),
            true,
            true,
            false,
        ),
        (
            on_org(Action::READ, Some(Feature::Membership)),
            false,
            true,
            true,
        ),
        (
            on_org(Action::WRITE, Some(Feature::Membership)),
            false,
            false,
            false,
        ),
        (
            on_org(Action::DELETE, Some(Feature::Deletion)),
            false,
            false,
            false,
        ),
        (elsewhere, false, false, false),
    ];
    for (request, by_deploy, by_org, by_read_only) in cases {
        let may = |caveats: &[Caveat]| permits(caveats, &request).is_ok();
        assert_eq!(
            (may(&deploys), may(&whole_org), may(&reads)),
            (by_deploy, by_org, by_read_only),
            "{request:?}"
        );
    }
}

#[test]
fn single_caveats_decide() {
    let machine = |id: &str, action| Request {
        machine: Some(id.to_owned()),
        ..on_app(APP, action)
    };
    let running = |words: &[&str]| Request {
        command: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ..machine("m1", Action::WRITE)
    };
    let commands = json!([{"type": "IfPresent", "body": {
        "ifs": [{"type": "Commands", "body": [{"args": ["ls"]}, {"args": ["id", "-u"], "exact": true}]}],
        "else": "r"
    }}]);
    let cases = [
        (
            json!([{"type": "ValidityWindow", "body": {"not_before": 0, "not_after": 1000}}]),
            on_app(APP, Action::ALL),
            true,
        ),
        (
            json!([{"type": "ValidityWindow", "body": {"not_before": 0, "not_after": 999}}]),
            on_app(APP, Action::ALL),
            false,
        ),
        (
            json!([{"type": "ValidityWindow", "body": {"not_before": 1001, "not_after": 2000}}]),
            on_app(APP, Action::ALL),
            false,
        ),
        (
            json!([{"type": "Machines", "body": {"machines": {"m1": "rC"}}}]),
            machine("m1", Action::CONTROL),
            true,
        ),
        (
            json!([{"type": "Machines", "body": {"machines": {"m1": "rC"}}}]),
            machine("m1", Action::WRITE),
            false,
        ),
        (
            json!([{"type": "Machines", "body": {"machines": {"m1": "rC"}}}]),
            machine("m2", Action::READ),
            false,
        ),
        (
            json!([{"type": "Machines", "body": {"machines": {"*": "r"}}}]),
            machine("m2", Action::READ),
            true,
        ),
        (
            json!([{"type": "Machines", "body": {"machines": {"*": "r", "m2": "*"}}}]),
            machine("m2", Action::READ),
            false,
        ),
        (
            json!([{"type": "Action", "body": "rC"}]),
            machine("m2", Action::CONTROL),
            true,
        ),
        (
            json!([{"type": "Action", "body": "r"}]),
            machine("m2", Action::CONTROL),
            false,
        ),
        (commands.clone(), running(&["ls", "-l"]), true),
        (commands.clone(), running(&["id", "-u"]), true),
        (commands.clone(), running(&["id", "-u", "x"]), false),
        (commands.clone(), running(&["rm"]), false),
        (commands.clone(), machine("m1", Action::READ), true),
        (commands, machine("m1", Action::CONTROL), false),
        (
            json!([{"type": "Mutations", "body": {"mutations": ["issueCertificate"]}}]),
            Request {
                mutation: Some("issueCertificate"),
                ..on_org(Action::CREATE, None)
            },
            true,
        ),
        (
            json!([{"type": "Mutations", "body": {"mutations": ["issueCertificate"]}}]),
            on_org(Action::READ, None),
            false,
        ),
        (
            json!([{"type": "FromMachineSource", "body": {"id": "m1"}}]),
            on_app(APP, Action::READ),
            false,
        ),
        (
            json!([{"type": "FromMachineSource", "body": {"id": "m1"}}]),
            Request {
                from_machine: Some("m1".to_owned()),
                ..on_app(APP, Action::READ)
            },
            true,
        ),
        (
            json!([{"type": "Volumes", "body": {"volumes": {"vol_1": "*"}}}]),
            on_app(APP, Action::READ),
            false,
        ),
    ];
    for (caveats, request, expected) in cases {
        let read = caveats_from_json(&caveats).expect("the caveats are well-formed");
        assert_eq!(
            permits(&read, &request).is_ok(),
            expected,
            "{caveats} {request:?}"
        );
    }
}

#[test]
fn what_is_not_understood_refuses_everything() {
    let mut token = Macaroon::new(Nonce::new(b"k", [1; 16]), "here", b"key");
    token
        .add(Caveat::Unknown {
            kind: 1 << 50,
            body: vec![0x90],
        })
        .unwrap();
    let read = Macaroon::decode(&token.encode())
        .unwrap()
        .verify(b"key", &[])
        .unwrap();
    let denied = permits(&read.caveats, &on_app(APP, Action::NONE));
    assert!(matches!(denied, Err(Denied::BadCaveat(_))), "{denied:?}");
}

#[test]
fn mistakes_in_written_caveats_are_placed() {
    for (written, at, problem) in [
        (json!({}), "caveats", "must be a list"),
        (json!([{"body": 1}]), "[0]", "has no \"type\""),
        (json!([{"type": "Action"}]), "[0]", "has no \"body\""),
        (
            json!([{"type": "Action", "body": 7}]),
            "[0].body",
            "must be a text",
        ),
        (
            json!([{"type": "Apps", "body": {"apps": {"hello": "r"}}}]),
            "[0].body.apps.hello",
            "an app is named by its number",
        ),
        (
            json!([{"type": "IfPresent", "body": {"ifs": [{"type": "Machines", "body": {}}], "else": "r"}}]),
            "[0].body.ifs[0].body",
            "has no \"machines\"",
        ),
    ] {
        let error = caveats_from_json(&written).unwrap_err();
        assert_eq!(
            (error.at.as_str(), error.problem.as_str()),
            (at, problem),
            "{written}"
        );
    }
    let error = caveats_from_json(&json!([{"type": "Aktion", "body": "r"}])).unwrap_err();
    assert!(
        error
            .problem
            .starts_with("\"Aktion\" is none of Organization, "),
        "{error}"
    );
}

#[test]
fn every_spelling_of_clients_is_understood() {
    for (header, tokens) in [
        ("Bearer one", vec!["one"]),
        ("FlyV1 one", vec!["one"]),
        ("Bearer FlyV1 one", vec!["one"]),
        ("bearer one,two", vec!["one", "two"]),
        (
            "FlyV1 fm2_a, FlyV1 fm2_b,Bearer c",
            vec!["fm2_a", "fm2_b", "c"],
        ),
        ("one", vec!["one"]),
        ("Bearer ", vec!["Bearer"]),
        ("", vec![]),
    ] {
        let found: Vec<_> = presented_tokens(header).collect();
        assert_eq!(found, tokens, "{header}");
    }
    let token = Macaroon::new(Nonce::new(b"k", [1; 16]), "here", b"key");
    let header = header_of([&token, &token]);
    let back: Vec<Macaroon> = presented_tokens(&header)
        .map(|text| text.parse().expect("our own text is read"))
        .collect();
    assert_eq!(back, [token.clone(), token]);
    assert!(is_macaroon("fm2_x") && !is_macaroon("fo1_x"));
}

fn caveat() -> impl Strategy<Value = Caveat> {
    let action = any::<u16>().prop_map(Action);
    let simple = prop_oneof![
        (any::<u64>(), action.clone()).prop_map(|(id, mask)| Caveat::Organization { id, mask }),
        proptest::collection::btree_map(any::<u64>(), action.clone(), 0..20).prop_map(Caveat::Apps),
        proptest::collection::btree_map(".{0,40}", action.clone(), 0..20)
            .prop_map(Caveat::Machines),
        (any::<i64>(), any::<i64>()).prop_map(|(not_before, not_after)| Caveat::ValidityWindow {
            not_before,
            not_after
        }),
        action.clone().prop_map(Caveat::Action),
        proptest::collection::vec(".{0,300}", 0..20).prop_map(Caveat::Mutations),
        Just(Caveat::IsMember),
    ];
    prop_oneof![
        simple.clone(),
        (proptest::collection::vec(simple, 0..4), action)
            .prop_map(|(ifs, otherwise)| { Caveat::IfPresent(IfPresent { ifs, otherwise }) }),
    ]
}

proptest! {
    #[test]
    fn tokens_come_back_as_they_went(caveats in proptest::collection::vec(caveat(), 0..6)) {
        let mut token = Macaroon::new(Nonce::new(b"kid", [3; 16]), "here", b"key");
        for caveat in caveats {
            token.add(caveat).unwrap();
        }
        let back = Macaroon::decode(&token.encode()).unwrap();
        prop_assert_eq!(&back, &token);
        prop_assert!(back.verify(b"key", &[]).is_ok());
    }

    #[test]
    fn no_bytes_are_a_surprise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Macaroon::decode(&bytes);
    }

    #[test]
    fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut token = Macaroon::new(Nonce::new(b"kid", [3; 16]), "here", b"key");
        token.add(Caveat::Action(Action::READ)).unwrap();
        let mut bytes = token.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(changed) = Macaroon::decode(&bytes) {
            // The place it says it is from is not signed, upstream's neither.
            let same = changed.location != "here";
            prop_assert!(same || changed.verify(b"key", &[]).is_err());
        }
    }

    #[test]
    fn a_caveat_never_opens_anything(
        caveats in proptest::collection::vec(caveat(), 0..4),
        more in caveat(),
        action in any::<u16>(),
        feature in any::<bool>(),
    ) {
        let request = Request {
            feature: feature.then_some(Feature::Membership),
            ..on_app(APP, Action(action))
        };
        let before = permits(&caveats, &request).is_ok();
        let mut narrowed = caveats;
        narrowed.push(more);
        prop_assert!(before || permits(&narrowed, &request).is_err());
    }
}

/// What a request that runs `image` in `region` from `source` does.
fn deploys(image: &str, region: &str, source: &str) -> Request {
    let (repository, digest) = image.split_once('@').unwrap_or((image, ""));
    Request {
        source: source.parse().ok(),
        images: vec![NamedImage {
            repositories: vec![repository.to_owned()],
            digest: digest.parse().ok(),
        }],
        regions: vec![region.to_owned()],
        ..on_app(APP, Action::WRITE)
    }
}

#[test]
fn a_token_is_limited_to_sources_images_and_regions() {
    let digest = format!("sha256:{}", "3b".repeat(32));
    let pinned = format!("ghcr.io/acme/web@{digest}");
    for (caveat, image, region, source, refused_by) in [
        (
            json!({"type": "Sources", "body": {"sources": ["203.0.113.0/24", "2001:db8::/32"]}}),
            "a/b",
            "ams",
            "203.0.113.9",
            None,
        ),
        (
            json!({"type": "Sources", "body": {"sources": ["203.0.113.0/24"]}}),
            "a/b",
            "ams",
            "::ffff:203.0.113.9",
            None,
        ),
        (
            json!({"type": "Sources", "body": {"sources": ["203.0.113.0/24"]}}),
            "a/b",
            "ams",
            "203.0.114.9",
            Some("it comes from 203.0.114.9; it is good from 203.0.113.0/24"),
        ),
        (
            json!({"type": "Sources", "body": {"sources": ["203.0.113.7"]}}),
            "a/b",
            "ams",
            "nowhere",
            Some("not known"),
        ),
        (
            json!({"type": "Images", "body": {"images": ["ghcr.io/acme"]}}),
            pinned.as_str(),
            "ams",
            "",
            None,
        ),
        (
            json!({"type": "Images", "body": {"images": ["nginx", "ghcr.io/acme/web@sha256:3b3"]}}),
            pinned.as_str(),
            "ams",
            "",
            None,
        ),
        (
            json!({"type": "Images", "body": {"images": ["sha256:3b3b"]}}),
            pinned.as_str(),
            "ams",
            "",
            None,
        ),
        (
            json!({"type": "Images", "body": {"images": ["ghcr.io/ac", "sha256:4", "ghcr.io/acme/web@sha256:3c"]}}),
            pinned.as_str(),
            "ams",
            "",
            Some("ghcr.io/acme/web@sha256:3b3b"),
        ),
        (
            json!({"type": "Images", "body": {"images": ["sha256:3b"]}}),
            "ghcr.io/acme/web",
            "ams",
            "",
            Some("allowed are sha256:3b"),
        ),
        (
            json!({"type": "Regions", "body": {"regions": ["ams", "fra"]}}),
            "a/b",
            "fra",
            "",
            None,
        ),
        (
            json!({"type": "Regions", "body": {"regions": ["ams"]}}),
            "a/b",
            "iad",
            "",
            Some("the region is iad; allowed are ams"),
        ),
    ] {
        let list = json!([caveat]);
        let caveats = caveats_from_json(&list).unwrap();
        assert_eq!(
            caveats_from_json(&mayfly_access::caveats_to_json(&caveats)).unwrap(),
            caveats
        );
        let decided = permits(&caveats, &deploys(image, region, source));
        match (decided, refused_by) {
            (Ok(()), None) => {}
            (Err(denied @ Denied::Limited { .. }), Some(text)) => {
                assert!(denied.to_string().contains(text), "{denied}");
                let name = caveat["type"].as_str().unwrap();
                assert!(denied.to_string().contains(name), "{denied}");
            }
            (decided, _) => panic!("{caveat} of {image} {region} {source}: {decided:?}"),
        }
        // Where nothing is run, only the source counts.
        let reads = Request {
            source: source.parse().ok(),
            ..on_app(APP, Action::READ)
        };
        let by_source = caveat["type"] == "Sources" && refused_by.is_some();
        assert_eq!(permits(&caveats, &reads).is_err(), by_source, "{caveat}");
        assert_eq!(permits_source(&caveats, reads.source).is_err(), by_source);
        let nonce = Nonce::new(b"id", [1; 16]);
        let mut token = Macaroon::new(nonce, "here", b"key");
        token.add(caveats[0].clone()).unwrap();
        let again: Macaroon = token.text().parse().unwrap();
        assert_eq!(again.verify(b"key", &[]).unwrap().caveats, caveats);
    }
    for wrong in [
        json!([{"type": "Sources", "body": {"sources": ["203.0.113.0/33"]}}]),
        json!([{"type": "Images", "body": {"images": ["nginx:latest"]}}]),
        json!([{"type": "Images", "body": {"images": ["sha256:XY"]}}]),
    ] {
        assert!(caveats_from_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn volumes_are_opened_one_by_one() {
    let json = json!([{"type": "Volumes", "body": {"volumes": {"vol_1": "r"}}}]);
    let caveats = caveats_from_json(&json).unwrap();
    let on = |volume: Option<&str>, action| Request {
        volume: volume.map(str::to_owned),
        ..on_app(APP, action)
    };
    for (request, open) in [
        (on(Some("vol_1"), Action::READ), true),
        (on(Some("vol_1"), Action::WRITE), false),
        (on(Some("vol_2"), Action::READ), false),
        (on(None, Action::READ), false),
    ] {
        assert_eq!(permits(&caveats, &request).is_ok(), open, "{request:?}");
    }
}
