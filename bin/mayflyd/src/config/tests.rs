use super::*;

fn assembled(text: &str, overrides: &Overrides) -> anyhow::Result<Config> {
    Config::assemble(Path::new("/data"), File::parse(text)?, overrides)
}

#[test]
fn the_shipped_example_says_the_defaults() {
    let none = Overrides::default();
    let example = assembled(include_str!("../../mayfly.example.toml"), &none).unwrap();
    let empty = assembled("", &none).unwrap();
    assert_eq!(format!("{example:?}"), format!("{empty:?}"));
    assert_eq!(empty.api_listen.to_string(), "127.0.0.1:4280");
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        region: Some("fra".parse().unwrap()),
        ..Overrides::default()
    };
    let config = assembled("region = \"ams\"\n[edge]\ndomain = \"a.test\"", &overrides).unwrap();
    assert_eq!(shown(&config), "fra");
    assert_eq!(config.domain, "a.test");
}

fn shown(config: &Config) -> String {
    let codes = config.regions.iter().map(Region::as_str);
    codes.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_region_has_an_edge_of_its_own() {
    let text = "regions = [\"iad\", \"fra\", \"nrt\"]\n[edge.addresses]\nnrt = \"::1\"";
    let config = assembled(text, &Overrides::default()).unwrap();
    assert_eq!(shown(&config), "iad fra nrt");
    let edge = |index: usize, first: &str| {
        let region = &config.regions[index];
        let found = config.edge_of(region, index, first.parse().unwrap());
        found.map(|address| address.to_string())
    };
    assert_eq!(edge(0, "127.0.0.1:81").unwrap(), "127.0.0.1:81");
    assert_eq!(edge(1, "127.0.0.1:81").unwrap(), "127.0.0.2:81");
    assert_eq!(edge(2, "127.0.0.1:81").unwrap(), "[::1]:81");
    assert_eq!(edge(0, "0.0.0.0:80").unwrap(), "0.0.0.0:80");
    let problem = edge(1, "0.0.0.0:80").unwrap_err().to_string();
    assert!(problem.contains("edge.addresses = { fra ="), "{problem}");
}

#[test]
fn registries_are_logged_into_and_limits_are_held() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "top secret\n").unwrap();
    let text = format!(
        "[limits]\napi = \"seed-001\"\n[images.logins.\"ghcr.io\"]\nusername = \"me\"\npassword_file = {:?}",
        file.path()
    );
    let config = assembled(&text, &Overrides::default()).unwrap();
    assert_eq!(config.api_limits, ApiLimits::Seed001);
    let login = &config.images.logins["ghcr.io"];
    assert_eq!(
        (login.username.as_str(), login.password.reveal()),
        ("me", "top secret")
    );
    assert!(!format!("{config:?}").contains("top secret"));
}

#[test]
fn mistakes_are_named() {
    for (text, named) in [
        ("[api]\nlisten_on = \"1\"", "listen_on"),
        ("[limits]\napi = \"strict\"", "seed-001"),
        (
            "[images]\nca_file = \"/nowhere\"",
            "images.ca_file /nowhere",
        ),
        (
            "[images.logins.\"ghcr.io\"]\nusername = \"me\"\npassword_file = \"/nowhere\"",
            "images.logins.\"ghcr.io\".password_file /nowhere",
        ),
        ("[api]\nlisten = \"here\"", "listen"),
        ("[api]\npublic_url = \"api.test\"", "api.public_url"),
        ("region = \"Frankfurt\"", "three letters"),
        ("regions = [\"fra\", \"fra\"]", "fra twice"),
        ("region = \"fra\"\nregions = [\"iad\"]", "cannot both"),
        ("[shutdown]\npatience = \"10\"", "30s"),
        ("[edge]\nautostop_period = \"0s\"", "edge.autostop_period"),
        ("[edge]\ndomain = \"Bad Domain\"", "edge.domain"),
        (
            "[edge.limits]\nheader_bytes = 100",
            "edge.limits.header_bytes",
        ),
        (
            "[edge.limits]\nidle_timeout = \"0s\"",
            "edge.limits.idle_timeout",
        ),
        ("[edge.limits]\nidle = \"1s\"", "idle_timeout"),
        (
            "[edge.limits.apps.web]\nconnections = 0",
            "edge.limits.apps.web.connections",
        ),
        (
            "[statics.buckets.a]\nendpoint = \"s3.test\"",
            "statics.buckets.a.endpoint",
        ),
        (
            "[statics.buckets.a]\nendpoint = \"http://s3\"\naccess_key_id = \"x\"",
            "secret_access_key_file",
        ),
        (
            "[images.registries]\n\"docker.io\" = \"mirror.test\"",
            "images.registries.\"docker.io\"",
        ),
        ("[registry]\nrequests = 0", "registry.requests"),
        (
            "[registry]\nmirrors = [\"localhost:5000\"]",
            "registry.mirrors: `localhost:5000`",
        ),
        (
            "[registry]\ncollect_period = \"1ms\"",
            "registry.collect_period",
        ),
        (
            "[registry.bucket]\nname = \"a\"\nendpoint = \"s3.test\"",
            "registry.bucket.endpoint",
        ),
        ("[edge]\ndrain = 10", "drain"),
        ("[addresses]\nv4 = \"::/64\"", "addresses.v4"),
        (
            "[addresses]\negress_v6 = \"10.0.0.0/8\"",
            "addresses.egress_v6",
        ),
        ("[latency.round_trips]\niad = \"9ms\"", "pair of regions"),
        (
            "[latency.round_trips]\niad-fra = \"9\"",
            "written like 90ms",
        ),
        ("[addresses]\nv6 = \"10.0.0.0/33\"", "no range of addresses"),
        (
            "[edge]\naccept_proxy_protocol = [\"10.0.0.0/8\", \"lb\"]",
            "edge.accept_proxy_protocol: `lb`",
        ),
        ("[edge]\npublic_addresses = [\"here\"]", "public_addresses"),
        ("[certificates]\nlifetime = \"1s\"", "certificates.lifetime"),
        ("[acme]\nemail = \"a@b.test\"", "acme.directory_url"),
        ("[acme]\ndirectory_url = \"http://ca\"", "https"),
        (
            "[acme]\ndirectory_url = \"https://ca\"\nca_file = \"/nowhere\"",
            "acme.ca_file",
        ),
        (
            "[acme]\ndirectory_url = \"https://ca\"\nexternal_key_id = \"x\"",
            "external_key_file",
        ),
        (
            "[acme]\ndirectory_url = \"https://ca\"\nchallenge_zone = \"a.test\"",
            "acme.challenge_listen",
        ),
        (
            "[acme]\nchallenge_zone = \"a.test\"\nchallenge_listen = \"0.0.0.0:53\"",
            "acme.directory_url",
        ),
        ("[dns]\nservers = [\"dns.test\"]", "1.1.1.1"),
        ("[store]\nurl_file = \"/nowhere\"", "/nowhere"),
        ("[fleet]\nlisten = \"here\"", "listen"),
        ("[fleet]\nadvertise = \"here\"", "fleet.advertise"),
        ("[fleet]\nhost_patience = \"10ms\"", "fleet.host_patience"),
        ("[usage]\nmeasured_every = \"1h\"", "usage.measured_every"),
        ("[autoscale]\nquiet_for = \"1s\"", "autoscale.quiet_for"),
        (
            "[fleet]\nidentity_lifetime = \"1s\"",
            "fleet.identity_lifetime",
        ),
        ("[join]\naddress = \"nowhere\"", "join.address"),
        (
            "[join]\naddress = \"a.test:4290\"\ntoken_file = \"/nowhere\"",
            "join.token_file /nowhere",
        ),
        ("[join]\ntoken_file = \"/nowhere\"", "join.address"),
    ] {
        let error = assembled(text, &Overrides::default()).unwrap_err();
        assert!(format!("{error:#}").contains(named), "{text}: {error:#}");
    }
}
