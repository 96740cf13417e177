use std::time::Duration;

use mayfly_types::{AppId, NetworkId, OrgId};
use proptest::prelude::*;

use super::*;

fn header(text: &str) -> Result<Replay, InvalidReplay> {
    ReplayHeaders {
        replay: vec![text.as_bytes()],
        ..ReplayHeaders::default()
    }
    .parse()
}

#[test]
fn the_documented_examples_are_read() {
    let replay = header("region=sjc").unwrap();
    assert_eq!(replay.regions, Some("sjc".parse().unwrap()));
    let replay = header("region=\"iad,ord,us,na\"").unwrap();
    assert_eq!(replay.regions.unwrap().to_string(), "iad,ord,us,na");
    let replay = header("instance=00bb33ff").unwrap();
    assert_eq!(replay.instance.clone().unwrap().as_str(), "00bb33ff");
    assert_eq!(replay.instance.unwrap().machine(), None);
    let replay = header("region=\"sjc,any\";app=target-app").unwrap();
    assert_eq!(replay.app, Some("target-app".parse().unwrap()));
    let replay = header("app=my-worker;timeout=10s;fallback=force_self").unwrap();
    assert_eq!(
        (replay.timeout, replay.fallback),
        (Some(Duration::from_secs(10)), Some(Fallback::ForceSelf))
    );
    let replay = header("app=mine,state=s3cr3t==").unwrap();
    assert_eq!(replay.state.as_deref(), Some("s3cr3t=="));
    let replay = header("  Elsewhere = true ; ; state=\"a;b,\\\"c\\\"\" ;").unwrap();
    assert!(replay.elsewhere);
    assert_eq!(replay.state.as_deref(), Some("a;b,\"c\""));
    let replay = header("prefer_instance=90801679a10038").unwrap();
    assert_eq!(
        replay.prefer_instance.unwrap().machine(),
        "90801679a10038".parse().ok()
    );
    let lines = ReplayHeaders {
        replay: vec![b"region=ams", b"state=x"],
        ..ReplayHeaders::default()
    };
    assert_eq!(lines.parse().unwrap().state.as_deref(), Some("x"));
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("", "no target"),
        (";,;", "no target"),
        ("timeout=1s", "no target"),
        ("elsewhere=false", "no target"),
        ("region=iad,ord", "must be quoted"),
        ("region", "field=value"),
        ("region=\"iad", "quote"),
        ("region=\"iad\"x", "field=value"),
        ("region=iadd", "apac, eu, na"),
        ("regoin=iad", "no field `regoin`"),
        ("app=Bad_App", "`app`"),
        ("app=", "`app`"),
        ("instance=a b", "`instance`"),
        ("elsewhere=yes", "true or false"),
        ("region=iad;timeout=10", "`timeout`"),
        ("region=iad;timeout=0s", "`timeout`"),
        ("region=iad;fallback=self", "force_self or prefer_self"),
        ("region=iad;region=ord", "more than once"),
        ("instance=1;prefer_instance=2", "choose one"),
        ("state=a\u{7}b", "control"),
    ] {
        let error = header(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let bytes = ReplayHeaders {
        replay: vec![b"state=\xff"],
        ..ReplayHeaders::default()
    };
    assert_eq!(bytes.parse(), Err(InvalidReplay::NotText));
}

#[test]
fn the_json_form_says_the_same_and_more() {
    let replay = Replay::from_json(
        br#"{
            "app": "target-app", "region": "iad,us", "elsewhere": true, "timeout": "800ms", "fallback": "prefer_self",
            "transform": {
                "path": "/new/path?param=value",
                "delete_headers": ["x-unwanted-header", "cookie"],
                "set_headers": [
                    { "name": "x-custom-header", "value": "new-value" },
                    { "name": "authorization", "value": "Bearer token123" }
                ]
            }
        }"#,
    )
    .unwrap();
    assert_eq!(replay.transform.path(), Some("/new/path?param=value"));
    assert!(replay.transform.touches(b"Cookie"));
    assert!(replay.transform.touches(b"AUTHORIZATION"));
    assert!(!replay.transform.touches(b"accept"));
    let plain = Replay {
        transform: Transform::default(),
        ..replay
    };
    let same = header(
        "app=target-app;region=\"iad,us\";elsewhere=true;timeout=800ms;fallback=prefer_self",
    )
    .unwrap();
    assert_eq!(plain, same);
    let cached =
        Replay::from_json(br#"{"app":"a","cache":{"prefix":"/some/path/*","ttl":60}}"#).unwrap();
    assert_eq!(
        cached.cache,
        Ok(Some(CacheOrder::Keep(CacheRule {
            pattern: "/some/path".parse().unwrap(),
            ttl: Duration::from_secs(60),
            allow_bypass: false,
        })))
    );
    let forgotten = Replay::from_json(br#"{"app":"a","cache":{"invalidate":true}}"#).unwrap();
    assert_eq!(forgotten.cache, Ok(Some(CacheOrder::Invalidate)));
}

#[test]
fn json_mistakes_are_named() {
    let with = |transform: &str| format!(r#"{{"app":"a","transform":{transform}}}"#);
    for (body, part) in [
        ("".to_owned(), "JSON"),
        ("[]".to_owned(), "JSON"),
        (r#"{"app":1}"#.to_owned(), "string"),
        ("{}".to_owned(), "no target"),
        (r#"{"regions":"iad"}"#.to_owned(), "unknown field `regions`"),
        (with(r#"{"path":"x"}"#), "begin with /"),
        (with(r#"{"path":"/a b"}"#), "begin with /"),
        (with(r#"{"path":"/a\r\nX: y"}"#), "begin with /"),
        (with(r#"{"delete_headers":["content-length"]}"#), "delimit"),
        (with(r#"{"delete_headers":["host"]}"#), "has a host"),
        (
            with(r#"{"set_headers":[{"name":"a b","value":""}]}"#),
            "header name",
        ),
        (
            with(r#"{"set_headers":[{"name":"a","value":"b\nc"}]}"#),
            "one line",
        ),
        (
            with(r#"{"set_headers":[{"name":"Transfer-Encoding","value":"chunked"}]}"#),
            "delimit",
        ),
        (
            with(r#"{"set_headers":[{"name":"Fly-Client-IP","value":"1.1.1.1"}]}"#),
            "proxy's own",
        ),
        (
            with(r#"{"set_headers":[{"name":"host","value":"a/b"}]}"#),
            "host name",
        ),
        (
            format!(r#"{{"state":"{}"}}"#, "x".repeat(REPLAY_JSON_MAX)),
            "longer than",
        ),
    ] {
        let error = Replay::from_json(body.as_bytes())
            .expect_err(&body)
            .to_string();
        assert!(error.contains(part), "{body}: {error}");
    }
}

#[test]
fn a_cache_that_cannot_be_does_not_stop_the_replay() {
    let with = |cache: &str, ttl: &str, text: &str| {
        ReplayHeaders {
            replay: vec![text.as_bytes()],
            cache: Some(cache.as_bytes()),
            cache_ttl: Some(ttl.as_bytes()),
            cache_allow_bypass: Some(b"yes"),
        }
        .parse()
        .unwrap()
        .cache
    };
    let Ok(Some(CacheOrder::Keep(rule))) = with("Example.com/some/path/*", "10", "app=a") else {
        panic!("a good rule is kept");
    };
    assert!(rule.allow_bypass);
    assert_eq!(rule.pattern.host.as_deref(), Some("example.com"));
    assert_eq!(
        with("invalidate", "", "app=a"),
        Ok(Some(CacheOrder::Invalidate))
    );
    for (cache, ttl, text, part) in [
        ("/a", "9", "app=a", "10 to 604800"),
        ("/a", "", "app=a", "10 to 604800"),
        ("/a", "x", "app=a", "10 to 604800"),
        ("a", "60", "app=a", "/path/*"),
        ("a.example:80/x", "60", "app=a", "port"),
        ("/a/*/b", "60", "app=a", "at the end"),
        ("/a", "60", "app=a;state=x", "`state` cannot be cached"),
        ("/a", "60", "app=a;timeout=1s", "`timeout` cannot be cached"),
        ("/a", "60", "app=a;fallback=force_self", "`fallback` cannot"),
    ] {
        let error = with(cache, ttl, text).expect_err(cache).to_string();
        assert!(error.contains(part), "{cache} {ttl} {text}: {error}");
    }
}

#[test]
fn patterns_match_whole_segments() {
    for (pattern, path, expected) in [
        ("/a/b", "/a/b", true),
        ("/a/b/", "/a/b", true),
        ("/a/b/*", "/a/b/c", true),
        ("/a/b*", "/a/b/c", true),
        ("/a/b", "/a/bc", false),
        ("/a/b", "/a", false),
        ("/*", "/anything", true),
        ("/", "/", true),
    ] {
        let pattern: UrlPattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches("x", path), expected, "{pattern:?} {path}");
    }
    let hosted: UrlPattern = "x.example/a".parse().unwrap();
    assert!(hosted.matches("x.example", "/a"));
    assert!(!hosted.matches("y.example", "/a"));
}

fn origin() -> ReplayOrigin {
    ReplayOrigin {
        machine: "11aa44ee11aa44".parse().unwrap(),
        region: "ams".parse().unwrap(),
        asked_at_us: 1_700_000_000_000_000,
    }
}

#[test]
fn the_target_reads_where_the_request_comes_from() {
    let src = |text: &str| replay_src(&origin(), &header(text).unwrap());
    let plain = "instance=11aa44ee11aa44;region=ams;t=1700000000000000";
    assert_eq!(src("region=iad"), plain);
    assert_eq!(src("region=iad;state=a=b"), format!("{plain};state=a=b"));
    assert_eq!(
        src("region=iad;state=\"a;b\\\"\""),
        format!("{plain};state=\"a;b\\\"\"")
    );
    let failed = |text: &str| {
        let app = "target-app".parse().unwrap();
        let replay = header(text).unwrap();
        replay_failed(
            &origin(),
            &replay,
            &app,
            ReplayFailure::Timeout,
            Duration::from_secs(10),
        )
    };
    assert_eq!(
        failed("instance=00bb33ff;region=iad;app=target-app"),
        "instance=00bb33ff;app=target-app;region=iad;replay_source=11aa44ee11aa44;reason=timeout;elapsed_ms=10000"
    );
    assert_eq!(
        failed("app=target-app"),
        "app=target-app;replay_source=11aa44ee11aa44;reason=timeout;elapsed_ms=10000"
    );
}

#[test]
fn requests_stay_within_organization_and_network_unless_granted() {
    let party = |app: u8, org: u8, network: u32| Party {
        app: AppId::from_random([app; 16]),
        org: OrgId::from_random([org; 16]),
        network: NetworkId(network),
    };
    let none = ReplaySources::default();
    let org_1 = ReplaySources {
        organizations: vec![OrgId::from_random([1; 16])],
        apps: vec![],
    };
    let app_1 = ReplaySources {
        organizations: vec![],
        apps: vec![AppId::from_random([1; 16])],
    };
    let source = party(1, 1, 1);
    for (target, sources, expected) in [
        (party(1, 1, 1), &none, true),
        (party(2, 1, 1), &none, true),
        (party(2, 1, 2), &none, false),
        (party(2, 1, 2), &org_1, true),
        (party(2, 2, 1), &none, false),
        (party(2, 2, 3), &org_1, true),
        (party(2, 2, 3), &app_1, true),
    ] {
        assert_eq!(
            source.may_replay_to(&target, sources),
            expected,
            "{target:?} {sources:?}"
        );
    }
    assert!(!party(3, 2, 1).may_replay_to(&party(4, 3, 1), &app_1));
}

/// Texts made of the grammar's own pieces reach further into the parser than random ones.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("region=".to_owned()),
        Just("app=".to_owned()),
        Just("state=".to_owned()),
        Just("timeout=".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just(";".to_owned()),
        Just(",".to_owned()),
        Just("iad".to_owned()),
        Just("1s".to_owned()),
        ".{0,3}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_header_breaks_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in pieces(), ttl in pieces()) {
        for replay in [bytes.as_slice(), text.as_bytes()] {
            let headers = ReplayHeaders {
                replay: vec![replay],
                cache: Some(text.as_bytes()),
                cache_ttl: Some(ttl.as_bytes()),
                cache_allow_bypass: Some(replay),
            };
            if let Ok(replay) = headers.parse() {
                prop_assert!(replay.names_target());
                // What the edge writes of it stays one line.
                prop_assert!(!replay_src(&origin(), &replay).contains(['\r', '\n', '\0']));
            }
        }
    }

    #[test]
    fn no_json_breaks_the_parser(text in r#"[\{\}\[\]":,a-z0-9 ]{0,80}"#, value in ".{0,20}") {
        let _ = Replay::from_json(text.as_bytes());
        let body = serde_json::json!({ "app": "a", "state": value, "transform": { "path": value, "set_headers": [{ "name": "x", "value": value }] } });
        if let Ok(replay) = Replay::from_json(body.to_string().as_bytes()) {
            prop_assert!(!replay.transform.path().unwrap().contains(['\r', '\n', ' ']));
            prop_assert!(replay.transform.set_headers().iter().all(|(_, value)| !value.contains(['\r', '\n'])));
        }
    }

    #[test]
    fn every_state_survives_the_way_to_the_target(state in "[ -~äö]{1,40}") {
        let quoted = format!("state=\"{}\"", state.replace('\\', "\\\\").replace('"', "\\\""));
        let replay = header(&quoted).unwrap();
        prop_assert_eq!(replay.state.as_deref(), Some(state.as_str()));
        let src = replay_src(&origin(), &replay);
        let again = header(src.split_once(";state").map(|(_, rest)| format!("state{rest}")).unwrap().as_str());
        prop_assert_eq!(again.unwrap().state, replay.state);
    }
}
