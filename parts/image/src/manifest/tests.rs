use super::*;

fn entry(digit: char, platform: Option<(&str, &str, Option<&str>)>) -> serde_json::Value {
    let mut entry = serde_json::json!({
        "mediaType": OCI_MANIFEST, "size": 2, "digest": format!("sha256:{}", digit.to_string().repeat(64)),
    });
    if let Some((os, architecture, variant)) = platform {
        entry["platform"] =
            serde_json::json!({"os": os, "architecture": architecture, "variant": variant});
    }
    entry
}

fn pick(entries: &[serde_json::Value], architecture: &str) -> Result<char, InvalidManifest> {
    let text = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let Document::Index(index) = Document::parse(text.as_bytes()).unwrap() else {
        panic!("an index")
    };
    let found = index.for_platform(architecture)?;
    Ok(found.digest.hex().chars().next().unwrap())
}

#[test]
fn an_index_gives_the_image_for_our_platform() {
    let entries = [
        entry('0', Some(("unknown", "unknown", None))),
        entry('1', Some(("windows", "amd64", None))),
        entry('2', Some(("linux", "amd64", Some("v3")))),
        entry('3', Some(("linux", "amd64", None))),
        entry('4', Some(("linux", "arm64", Some("v8")))),
    ];
    assert_eq!(pick(&entries, "amd64").unwrap(), '3');
    assert_eq!(pick(&entries, "arm64").unwrap(), '4');
    let error = pick(&entries, "riscv64").unwrap_err().to_string();
    assert!(
        error.contains("linux/riscv64") && error.contains("linux/arm64"),
        "{error}"
    );
    assert!(!error.contains("unknown"), "{error}");
    assert_eq!(pick(&[entry('7', None)], "amd64").unwrap(), '7');
    assert!(pick(&[entry('7', None), entry('8', None)], "amd64").is_err());
    assert!(pick(&[], "amd64").is_err());
}

#[test]
fn what_is_not_an_image_is_refused_by_name() {
    let config = entry('1', None);
    let with = |config: serde_json::Value, layers: usize| {
        let layer = entry('2', None);
        let text =
            serde_json::json!({"schemaVersion": 2, "config": config, "layers": vec![layer; layers]})
                .to_string();
        Document::parse(text.as_bytes()).map(|_| ())
    };
    let mut image = config.clone();
    image["mediaType"] = OCI_CONFIG.into();
    with(image.clone(), 3).unwrap();
    assert!(matches!(
        with(image, 128),
        Err(InvalidManifest::TooManyLayers(128))
    ));
    let mut chart = config;
    chart["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    assert!(matches!(
        with(chart, 1),
        Err(InvalidManifest::NotAnImage(_))
    ));
    for (text, wanted) in [
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
        (r#"{"schemaVersion":2}"#, "neither"),
        ("[]", "neither"),
        ("{", "JSON"),
        (
            r#"{"config":{"digest":"md5:1","size":1},"layers":[]}"#,
            "JSON",
        ),
        (
            r#"{"manifests":[{"digest":"sha256:../..","size":1}]}"#,
            "JSON",
        ),
    ] {
        let error = Document::parse(text.as_bytes()).err().unwrap().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
