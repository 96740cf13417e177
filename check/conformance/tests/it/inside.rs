//! The API as a machine reaches it: by its own socket, and by name.

use std::process::Command;

use mayfly_conformance::Stage;
use mayfly_testing::wait_until;
use serde_json::{Value, json};

/// One request from inside a machine; status and body.
fn ask(stage: &Stage, machine: &str, arguments: &[&str]) -> (u16, String) {
    let mut command = vec!["/bin/netprobe", "ask"];
    command.extend(arguments);
    let body = json!({ "command": command, "timeout": 30 });
    let answer = stage.act(machine, "exec", body);
    let output = answer["stdout"].as_str().unwrap_or_default();
    let (status, body) = output
        .split_once('\n')
        .unwrap_or_else(|| panic!("no answer: {answer}"));
    (status.parse().unwrap(), body.to_owned())
}

fn sleeper() -> Value {
    json!({"image": "probe:latest", "init": {"exec": ["/bin/sleep", "inf"]}})
}

#[test]
fn a_machine_speaks_for_itself_and_for_nobody_else() {
    let mut stage = Stage::set();
    stage.import_probe();
    let own = stage.start(sleeper());
    let other = stage.start(sleeper());
    let path = |id: &str, rest: &str| format!("/v1/apps/stage/machines/{id}{rest}");
    let socket = "/.fly/api";
    let (status, body) = ask(&stage, &own, &[socket, "GET", &path(&own, "")]);
    assert_eq!(status, 200, "{body}");
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(shown["id"], own.as_str());
    let (status, _) = ask(
        &stage,
        &own,
        &[
            socket,
            "POST",
            &path(&own, "/metadata/role"),
            r#"{"value": "leader"}"#,
        ],
    );
    assert!(status < 300, "{status}");
    let metadata = stage
        .cloud
        .get(&stage.path(&format!("/{own}/metadata")))
        .expect(200);
    assert_eq!(metadata["role"], "leader");
    // Not its neighbour, its app, its organization; not what it could become.
    for (method, path) in [
        ("GET", path(&other, "")),
        ("POST", path(&other, "/stop")),
        ("GET", "/v1/apps/stage/machines".to_owned()),
        ("POST", "/v1/apps/stage/machines".to_owned()),
        ("GET", "/v1/apps/stage".to_owned()),
        ("DELETE", path(&own, "")),
        ("POST", path(&own, "")),
        ("POST", path(&own, "/exec")),
        ("POST", path(&own, "/lease")),
        ("GET", "/v1/orgs".to_owned()),
        ("GET", "/v1/tokens/current".to_owned()),
        ("GET", "/v1/images".to_owned()),
        ("GET", format!("/v1/apps/other/machines/{own}")),
        ("GET", "/v1/nothing".to_owned()),
    ] {
        let (status, body) = ask(&stage, &own, &[socket, method, &path, "{}"]);
        assert_eq!(status, 403, "{method} {path}: {body}");
    }
    // With a token, everything the token opens, here and by name.
    let token = stage.cloud.token().to_owned();
    for address in [socket, "_api.internal:4280"] {
        let (status, _) = ask(
            &stage,
            &own,
            &[address, "GET", &path(&other, ""), "", &token],
        );
        assert_eq!(status, 200, "{address}");
        // The registry and its mirror are there, too, which is what builders push to and pull from.
        let registry = &[address, "GET", "/v2/", "", &token];
        assert_eq!(ask(&stage, &own, registry).0, 200, "{address}");
        assert_eq!(ask(&stage, &own, &registry[..3]).0, 401, "{address}");
    }
    let (status, _) = ask(
        &stage,
        &own,
        &["_api.internal:4280", "GET", &path(&own, "")],
    );
    assert_eq!(status, 401, "by name without a token");

    // The socket is there whoever the program is, cannot be replaced, and outlives the daemon.
    let listed = stage.shell(&own, "ls -ld /.fly /.fly/api");
    assert!(listed.contains("srw-rw-rw-"), "{listed}");
    assert_ne!(stage.exec(&own, "rm /.fly/api").code, 0);
    assert_ne!(stage.exec(&own, "touch /.fly/x").code, 0);
    stage.cloud.crash_and_restart();
    wait_until("the door is open again", || {
        let body = json!({
            "command": ["/bin/netprobe", "ask", socket, "GET", path(&own, "")],
            "timeout": 10,
        });
        stage.act(&own, "exec", body)["stdout"]
            .as_str()
            .is_some_and(|text| text.starts_with("200"))
    });

    // A machine suspends itself.
    stage.exec(
        &own,
        &format!(
            "netprobe ask {socket} POST {} '{{}}' >/dev/null 2>&1 &",
            path(&own, "/suspend")
        ),
    );
    stage.wait(&own, "suspended");
}

#[test]
fn third_parties_can_verify_who_a_machine_is() {
    let stage = Stage::set();
    stage.import_probe();
    let id = stage.start(sleeper());
    let token = |body: &str| {
        let (status, token) = ask(&stage, &id, &["/.fly/api", "POST", "/v1/tokens/oidc", body]);
        assert_eq!(status, 200, "{token}");
        token
    };
    let first = token(r#"{"aud": "sts.amazonaws.com", "aws_principal_tags": true}"#);
    let claims = verified(&stage, &first);
    let machine = stage.get(&id);
    let name = machine["name"].as_str().unwrap();
    let issuer = format!("http://{}/oidc/personal", stage.cloud.api());
    assert_eq!(claims["iss"], issuer);
    assert_eq!(claims["sub"], format!("personal:stage:{name}"));
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(claims["machine_id"], id);
    assert_eq!(claims["machine_version"], machine["instance_id"]);
    assert_eq!(claims["image_digest"], machine["image_ref"]["digest"]);
    assert_eq!(claims["region"], "iad");
    let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lives, 600);
    let tags = &claims["https://aws.amazon.com/tags"]["principal_tags"];
    assert_eq!(tags["app_name"], json!(["stage"]));

    // Another key signs; what the first has signed is still verified.
    let made = stage
        .cloud
        .post("/v1/orgs/personal/oidc_keys", Value::Null)
        .expect(201);
    let second = token("{}");
    assert_eq!(verified(&stage, &second)["aud"], issuer);
    verified(&stage, &first);
    let key = |token: &str| decoded(token.split('.').next().unwrap())["kid"].clone();
    assert_ne!(key(&first), key(&second));
    assert_eq!(key(&second), made["id"]);

    // Nobody but a machine is given one.
    let refused = stage.cloud.post("/v1/tokens/oidc", json!({}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(stage.cloud.get("/oidc/nobody/.well-known/jwks").status, 404);
    let database = std::fs::read(stage.cloud.data_dir().join("control.db")).unwrap();
    let key = b"MIGHAgEAMBMGByqGSM49";
    assert!(!database.windows(key.len()).any(|part| part == key));
}

fn base64url(text: &str) -> Vec<u8> {
    let text = text.replace('-', "+").replace('_', "/");
    let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    let script = format!("printf %s '{padded}' | base64 -d");
    Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap()
        .stdout
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&base64url(part)).unwrap()
}

/// The claims of a token, verified with openssl by what the issuer publishes.
fn verified(stage: &Stage, token: &str) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    let issuer = claims["iss"].as_str().unwrap();
    let path = issuer
        .strip_prefix(&format!("http://{}", stage.cloud.api()))
        .unwrap();
    let public = |path: &str| {
        let answer = mayfly_testing::send(
            stage.cloud.api(),
            mayfly_testing::Method::Get,
            path,
            &[],
            &[],
        );
        answer.unwrap().expect(200)
    };
    let discovery = public(&format!("{path}/.well-known/openid-configuration"));
    assert_eq!(discovery["issuer"], issuer);
    let jwks = discovery["jwks_uri"].as_str().unwrap();
    let keys = public(
        jwks.strip_prefix(&format!("http://{}", stage.cloud.api()))
            .unwrap(),
    );
    let keys = keys["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    // SubjectPublicKeyInfo of an uncompressed point on P-256 (RFC 5480).
    let mut der = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    der.extend(base64url(key["x"].as_str().unwrap()));
    der.extend(base64url(key["y"].as_str().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let signed = format!("{}.{}", parts[0], parts[1]);
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
        .arg(file("key.der", &der))
        .arg("-signature")
        .arg(file("signature", &der_signature(&base64url(parts[2]))))
        .arg(file("signed", signed.as_bytes()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    claims
}

/// The two numbers of a signature as openssl reads them.
fn der_signature(fixed: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap();
        let mut digits = bytes[first..].to_vec();
        if digits[0] & 0x80 != 0 {
            digits.insert(0, 0);
        }
        [vec![0x02, u8::try_from(digits.len()).unwrap()], digits].concat()
    };
    let both = [number(&fixed[..32]), number(&fixed[32..])].concat();
    [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat()
}
