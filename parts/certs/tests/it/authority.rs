use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use mayfly_certs::{AuthorityError, CertificatePair, KeyType, LocalAuthority, PairError};
use mayfly_runtime::SystemEntropy;
use mayfly_types::Timestamp;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn authority(folder: &TempDir) -> LocalAuthority {
    LocalAuthority::open(folder.path(), NOW, &SystemEntropy).unwrap()
}

fn issue(authority: &LocalAuthority, name: &str) -> CertificatePair {
    let names = [name.to_owned(), format!("*.{name}")];
    authority.issue(&names, HOUR, NOW, &SystemEntropy).unwrap()
}

/// Runs openssl in `folder`; what a person would use to look at our work, and to make their own.
fn openssl(folder: &TempDir, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder.path())
        .output()
        .expect("openssl is one of the tools tests need (./dev setup)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "openssl {arguments}: {text}{errors}"
    );
    text
}

#[test]
fn the_root_is_made_once_and_its_key_is_private() {
    let folder = TempDir::new().unwrap();
    let root = authority(&folder).root_pem().to_owned();
    assert_eq!(authority(&folder).root_pem(), root);
    let mode = std::fs::metadata(folder.path().join("root.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // A key of another root would issue what nobody can check.
    let other = TempDir::new().unwrap();
    authority(&other);
    std::fs::copy(
        other.path().join("root.key"),
        folder.path().join("root.key"),
    )
    .unwrap();
    let refused = LocalAuthority::open(folder.path(), NOW, &SystemEntropy);
    assert!(matches!(refused, Err(AuthorityError::Unusable { .. })));
}

#[test]
fn others_can_verify_what_it_issues() {
    let folder = TempDir::new().unwrap();
    let authority = authority(&folder);
    let pair = issue(&authority, "apps.test");
    assert_eq!(pair.facts.names, ["apps.test", "*.apps.test"]);
    assert_eq!(pair.facts.not_after, NOW + HOUR);
    assert_eq!(pair.facts.key_type, KeyType::Ecdsa);
    assert!(pair.facts.issuer.starts_with("Mayfly local authority"));
    std::fs::write(folder.path().join("leaf.pem"), &pair.chain).unwrap();
    let at = NOW.as_millis() / 1000;
    let verified = openssl(
        &folder,
        &format!(
            "verify -attime {at} -purpose sslserver -verify_hostname a.apps.test -CAfile root.pem leaf.pem"
        ),
    );
    assert!(verified.contains("leaf.pem: OK"), "{verified}");
}

#[test]
fn a_pair_that_does_not_hold_together_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let authority = authority(&folder);
    let (one, other) = (
        issue(&authority, "one.test"),
        issue(&authority, "other.test"),
    );
    let checked = |chain: &str, key: &str, now| CertificatePair::checked(chain, key, now);
    let key = one.key.reveal();
    let whole = format!("{}{}", one.chain, authority.root_pem());
    assert_eq!(checked(&whole, key, NOW).unwrap().facts, one.facts);
    for (chain, key, now, wrong) in [
        ("", key, NOW, PairError::NoCertificate),
        ("hello", key, NOW, PairError::NoCertificate),
        (one.chain.as_str(), "", NOW, PairError::NoKey),
        (
            one.chain.as_str(),
            one.chain.as_str(),
            NOW,
            PairError::NoKey,
        ),
        (
            one.chain.as_str(),
            other.key.reveal(),
            NOW,
            PairError::KeyMismatch,
        ),
        (
            &format!("{}{}", one.chain, other.chain),
            key,
            NOW,
            PairError::BrokenChain { position: 1 },
        ),
        (
            one.chain.as_str(),
            key,
            NOW + HOUR,
            PairError::Expired {
                position: 1,
                at: NOW + HOUR,
            },
        ),
        (
            one.chain.as_str(),
            key,
            NOW - 2 * HOUR,
            PairError::NotYet {
                position: 1,
                at: NOW - HOUR,
            },
        ),
    ] {
        assert_eq!(checked(chain, key, now), Err(wrong));
    }
    let garbled = one.chain.replace("MII", "AAA");
    assert!(matches!(
        checked(&garbled, key, NOW),
        Err(PairError::Unreadable { position: 1, .. })
    ));
    let covers = |name: &str| one.check_covers(&name.parse().unwrap());
    assert_eq!(covers("one.test"), Ok(()));
    assert_eq!(covers("a.one.test"), Ok(()));
    assert_eq!(covers("*.one.test"), Ok(()));
    assert!(covers("a.b.one.test").is_err());
    assert!(covers("two.test").is_err());
}

#[test]
fn keys_of_every_usual_form_are_taken() {
    let folder = TempDir::new().unwrap();
    let now = Timestamp::from_millis(openssl_now(&folder) * 1000 + 60_000);
    let make = |arguments: &str| openssl(&folder, arguments);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    for (algorithm, convert, key_type) in [
        ("rsa:2048", Some("rsa -traditional"), KeyType::Rsa),
        (
            "ec -pkeyopt ec_paramgen_curve:P-256",
            Some("ec"),
            KeyType::Ecdsa,
        ),
        (
            "ec -pkeyopt ec_paramgen_curve:P-384",
            Some("ec"),
            KeyType::Ecdsa,
        ),
        ("ed25519", None, KeyType::Ed25519),
    ] {
        make(&format!(
            "req -x509 -newkey {algorithm} -nodes -days 9 -subj /CN=Old.test -keyout key.pem -out leaf.pem"
        ));
        let pair = CertificatePair::checked(&read("leaf.pem"), &read("key.pem"), now).unwrap();
        assert_eq!(pair.facts.key_type, key_type);
        // No alternative name: the common name counts.
        assert_eq!(pair.facts.names, ["old.test"]);
        if let Some(convert) = convert {
            make(&format!("{convert} -in key.pem -out old.pem"));
            let old = read("old.pem");
            assert!(!old.contains("BEGIN PRIVATE KEY"), "{old}");
            let converted = CertificatePair::checked(&read("leaf.pem"), &old, now).unwrap();
            let (before, after) = (pair.key.reveal(), converted.key.reveal());
            assert!(after.contains("BEGIN PRIVATE KEY"));
            // The same key, if not the same bytes.
            CertificatePair::checked(&read("leaf.pem"), after, now).unwrap();
            assert_eq!(before.is_empty(), after.is_empty());
        }
    }
    make(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -days 9 -subj /CN=a.test -keyout key.pem -out leaf.pem",
    );
    let odd = CertificatePair::checked(&read("leaf.pem"), &read("key.pem"), now);
    assert_eq!(odd, Err(PairError::KeyKind));
}

/// The present in seconds, from the tool that stamps the certificates.
fn openssl_now(folder: &TempDir) -> i64 {
    std::fs::write(folder.path().join("now"), "").unwrap();
    let made = std::fs::metadata(folder.path().join("now"))
        .unwrap()
        .modified()
        .unwrap();
    let since = made.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
