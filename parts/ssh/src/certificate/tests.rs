use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn request() -> CertificateRequest {
    CertificateRequest {
        key: key(1).public(),
        nonce: [9; 32],
        serial: 7,
        key_id: "user:u1/a@b.example".to_owned(),
        principals: vec!["root".to_owned(), "app".to_owned()],
        valid_from: at(1000),
        valid_until: at(2000),
        apps: vec!["web".to_owned(), "db".to_owned()],
    }
}

fn blob(line: &str) -> Vec<u8> {
    STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap()
}

fn issued(request: &CertificateRequest) -> Certificate {
    Certificate::parse(&blob(&request.issue(&key(2)))).unwrap()
}

#[test]
fn whoever_it_names_is_let_in_and_nobody_else() {
    let authorities = [key(3).public(), key(2).public()];
    let visitor = |user, app, seconds| Visitor {
        user,
        app,
        authorities: &authorities,
        now: at(seconds),
    };
    let certificate = issued(&request());
    assert_eq!(certificate.serial(), 7);
    assert_eq!(certificate.key_id(), "user:u1/a@b.example");
    for (user, app, seconds, outcome) in [
        ("root", "web", 1000, Ok(())),
        ("app", "db", 1999, Ok(())),
        ("root", "web", 999, Err(CertificateError::NotNow)),
        ("root", "web", 2000, Err(CertificateError::NotNow)),
        (
            "other",
            "web",
            1500,
            Err(CertificateError::User("other".into())),
        ),
        (
            "root",
            "mail",
            1500,
            Err(CertificateError::App("mail".into())),
        ),
        ("root", "we", 1500, Err(CertificateError::App("we".into()))),
    ] {
        assert_eq!(
            certificate.admits(&visitor(user, app, seconds)),
            outcome,
            "{user} {app} {seconds}"
        );
    }
    let anybody = issued(&CertificateRequest {
        principals: vec!["fly".to_owned()],
        apps: Vec::new(),
        ..request()
    });
    assert_eq!(anybody.admits(&visitor("postgres", "mail", 1500)), Ok(()));
    let nobody = issued(&CertificateRequest {
        principals: Vec::new(),
        ..request()
    });
    let refused = nobody.admits(&visitor("root", "web", 1500));
    assert_eq!(refused, Err(CertificateError::User("root".into())));
}

#[test]
fn only_the_organization_s_own_authority_is_believed() {
    let certificate = issued(&request());
    let visit = |certificate: &Certificate, authorities: &[PublicKey]| {
        certificate.admits(&Visitor {
            user: "root",
            app: "web",
            authorities,
            now: at(1500),
        })
    };
    assert_eq!(
        visit(&certificate, &[key(3).public()]),
        Err(CertificateError::Stranger)
    );
    assert_eq!(visit(&certificate, &[]), Err(CertificateError::Stranger));
    // Every changed bit is noticed.
    let whole = blob(&request().issue(&key(2)));
    let ours = [key(2).public()];
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        let admitted = Certificate::parse(&changed).map(|changed| visit(&changed, &ours));
        assert!(!matches!(admitted, Ok(Ok(()))), "byte {position}");
    }
    for length in 0..whole.len() {
        assert!(Certificate::parse(&whole[..length]).is_err());
    }
}
