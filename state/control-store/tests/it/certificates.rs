use mayfly_control_store::{
    App, CertificateSource, HostnameFilter, NewCertificate, PendingOrder, Progress,
};
use mayfly_types::{ErrorKind, Hostname};
use serde_json::json;

use crate::fixture::{Cloud, at, by, on_both_engines};

on_both_engines!(
    a_name_has_one_holder_and_moves_with_a_proof,
    certificates_take_each_others_place,
    an_order_is_found_again_until_it_is_fulfilled,
    names_are_listed_and_looked_after,
    an_app_takes_its_names_with_it,
);

fn name(text: &str) -> Hostname {
    text.parse().unwrap()
}

fn certificate(source: CertificateSource, serial: &str) -> NewCertificate {
    NewCertificate {
        source,
        authority: "local".to_owned(),
        chain: format!("chain {serial}"),
        sealed_key: vec![0, 1, 255],
        names: vec!["shop.test".to_owned()],
        issuer: "issuer".to_owned(),
        serial: serial.to_owned(),
        key_type: "ecdsa".to_owned(),
        not_before: at(1),
        not_after: at(1_000_000),
    }
}

fn order(app: &App) -> PendingOrder {
    PendingOrder {
        app_id: Some(app.id),
        hostname: "shop.test".to_owned(),
        directory_url: "https://ca.test/dir".to_owned(),
        url: "https://ca.test/order/1".to_owned(),
        method: "http-01".to_owned(),
        sealed_key: vec![7],
        proofs: None,
        created_at: at(30),
    }
}

async fn a_name_has_one_holder_and_moves_with_a_proof(cloud: Cloud) {
    let (first, second) = (cloud.app("first").await, cloud.app("second").await);
    let shop = name("shop.test");
    let store = &cloud.store;
    assert!(
        store
            .add_hostname(first.id, shop.clone(), by(30))
            .await
            .unwrap()
            .holder
    );
    let late = store
        .add_hostname(second.id, shop.clone(), by(31))
        .await
        .unwrap();
    assert!(!late.holder);
    let directory = store.directory_apps().await.unwrap();
    assert_eq!(directory[&first.id].hostnames, ["shop.test"]);
    assert!(directory[&second.id].hostnames.is_empty());

    let seen = json!({ "a": [] });
    let unproven = store.record_findings(second.id, shop.clone(), seen.clone(), false, by(32));
    assert!(!unproven.await.unwrap().holder);
    let proven = store.record_findings(second.id, shop.clone(), seen.clone(), true, by(33));
    let proven = proven.await.unwrap();
    assert_eq!((proven.holder, proven.findings), (true, Some(seen.clone())));
    assert!(!store.hostname(first.id, shop.clone()).await.unwrap().holder);
    assert_eq!(
        store.holder_of(shop.clone()).await.unwrap().unwrap().app_id,
        second.id
    );

    // Given up, it goes to whoever still asks for it.
    store
        .remove_hostname(second.id, shop.clone(), by(34))
        .await
        .unwrap();
    let free = store.record_findings(first.id, shop.clone(), seen, false, by(35));
    assert!(free.await.unwrap().holder);
    let events = cloud.events().await;
    // Again for the same name is nothing new.
    store
        .add_hostname(first.id, shop.clone(), by(36))
        .await
        .unwrap();
    assert_eq!(cloud.events().await, events);
    let gone = store
        .remove_hostname(second.id, shop, by(37))
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

async fn certificates_take_each_others_place(cloud: Cloud) {
    let app = cloud.app("web").await;
    let shop = name("shop.test");
    let store = &cloud.store;
    let own = || certificate(CertificateSource::Custom, "a1");
    let imported = store
        .import_certificate(app.id, shop.clone(), own(), by(30))
        .await
        .unwrap();
    assert!(!imported.acme);
    // Nobody asked for one.
    let fly = |serial| certificate(CertificateSource::Fly, serial);
    let unasked = store.issue_certificate(Some(app.id), "shop.test".to_owned(), fly("f1"), by(31));
    assert_eq!(unasked.await.unwrap_err().kind(), ErrorKind::NotFound);
    store
        .add_hostname(app.id, shop.clone(), by(32))
        .await
        .unwrap();
    for serial in ["f1", "f2"] {
        store
            .issue_certificate(Some(app.id), "shop.test".to_owned(), fly(serial), by(33))
            .await
            .unwrap();
    }
    let held = store
        .hostname(app.id, shop.clone())
        .await
        .unwrap()
        .certificates;
    let serials: Vec<&str> = held.iter().map(|held| held.serial.as_str()).collect();
    assert_eq!(serials, ["a1", "f2"]);
    assert_eq!(held[0].sealed_key, [0, 1, 255]);

    store
        .issue_certificate(None, "apps.test".to_owned(), fly("p1"), by(34))
        .await
        .unwrap();
    assert_eq!(store.served_certificates(None).await.unwrap().len(), 3);
    let platform = store.served_certificates(Some(vec![None])).await.unwrap();
    assert_eq!(platform[0].serial, "p1");

    let (custom, ours) = (CertificateSource::Custom, CertificateSource::Fly);
    store
        .set_certificate_warned(Some(app.id), "shop.test".to_owned(), ours, 2)
        .await
        .unwrap();
    let left = store
        .remove_certificate(app.id, shop.clone(), custom, by(35))
        .await
        .unwrap();
    assert_eq!(
        (left.certificates.len(), left.certificates[0].warned),
        (1, 2)
    );
    let again = store
        .remove_certificate(app.id, shop.clone(), custom, by(36))
        .await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    let left = store
        .remove_certificate(app.id, shop, ours, by(37))
        .await
        .unwrap();
    assert!(!left.acme && left.certificates.is_empty());
    let kinds = cloud.kinds().await;
    for kind in [
        "certificate.import",
        "certificate.issue",
        "certificate.delete",
    ] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    let texts = format!("{:?}", cloud.events().await);
    assert!(!texts.contains("chain f1"), "the log holds no certificates");
}

async fn an_order_is_found_again_until_it_is_fulfilled(cloud: Cloud) {
    let app = cloud.app("web").await;
    let store = &cloud.store;
    let host = || "shop.test".to_owned();
    store
        .add_hostname(app.id, name("shop.test"), by(30))
        .await
        .unwrap();
    store.put_acme_order(order(&app)).await.unwrap();
    assert_eq!(
        store.acme_order(Some(app.id), host()).await.unwrap(),
        Some(order(&app))
    );
    assert!(store.shown_orders().await.unwrap().is_empty());
    let proofs = json!([{ "token": "t" }]);
    store
        .show_proofs(Some(app.id), host(), proofs.clone(), by(31))
        .await
        .unwrap();
    assert_eq!(store.shown_orders().await.unwrap()[0].proofs, Some(proofs));
    let shown = cloud.events().await.pop().unwrap();
    assert_eq!(shown.after.unwrap()["method"], "http-01");

    let issued = certificate(CertificateSource::Fly, "f1");
    store
        .issue_certificate(Some(app.id), host(), issued, by(32))
        .await
        .unwrap();
    assert_eq!(store.acme_order(Some(app.id), host()).await.unwrap(), None);
    store.put_acme_order(order(&app)).await.unwrap();
    let given_up = store.drop_acme_order(Some(app.id), host(), "no".to_owned(), by(33));
    given_up.await.unwrap();
    assert_eq!(store.acme_order(Some(app.id), host()).await.unwrap(), None);
    assert_eq!(cloud.kinds().await.last().unwrap(), "certificate.fail");

    let url = || "https://ca.test/dir".to_owned();
    assert_eq!(store.acme_account(url()).await.unwrap(), None);
    for credentials in [vec![1], vec![2, 3]] {
        store
            .put_acme_account(url(), credentials, by(34))
            .await
            .unwrap();
    }
    assert_eq!(store.acme_account(url()).await.unwrap(), Some(vec![2, 3]));
}

async fn names_are_listed_and_looked_after(cloud: Cloud) {
    let app = cloud.app("web").await;
    let store = &cloud.store;
    assert_eq!(store.next_due_hostname().await.unwrap(), None);
    for text in ["c.test", "a_b.test", "*.a.test"] {
        store
            .add_hostname(app.id, name(text), by(30))
            .await
            .unwrap();
    }
    let list = |containing: &str, after: Option<&str>, limit| {
        let filter = HostnameFilter {
            containing: Some(containing.to_owned()),
            after: after.map(str::to_owned),
            limit,
        };
        async move { store.hostnames(app.id, filter).await.unwrap() }
    };
    assert_eq!(list("", None, 2).await.0.len(), 2);
    assert_eq!(list("", None, 2).await.1, 3);
    assert_eq!(list("A_B", None, 9).await.1, 1);
    assert_eq!(list("%", None, 9).await.1, 0);
    assert_eq!(
        list("", Some("a_b.test"), 9).await.0[0].name,
        name("c.test")
    );

    assert_eq!(store.due_hostnames(at(29), 9).await.unwrap().len(), 0);
    assert_eq!(store.due_hostnames(at(30), 9).await.unwrap().len(), 3);
    let progress = Progress {
        next_at: at(500),
        attempts: 2,
        limited_until: Some(at(400)),
        failure: Some(json!({ "code": "X" })),
    };
    for text in ["c.test", "a_b.test", "*.a.test"] {
        store
            .set_hostname_progress(app.id, name(text), progress.clone())
            .await
            .unwrap();
    }
    assert_eq!(store.next_due_hostname().await.unwrap(), Some(at(500)));
    let kept = store.hostname(app.id, name("c.test")).await.unwrap();
    assert_eq!((kept.attempts, kept.limited_until), (2, Some(at(400))));
    assert_eq!(kept.failure, progress.failure);
    store
        .wake_hostname(app.id, name("c.test"), at(31))
        .await
        .unwrap();
    assert_eq!(store.next_due_hostname().await.unwrap(), Some(at(31)));
}

async fn an_app_takes_its_names_with_it(cloud: Cloud) {
    let (web, other) = (cloud.app("web").await, cloud.app("other").await);
    let store = &cloud.store;
    store
        .add_hostname(web.id, name("shop.test"), by(30))
        .await
        .unwrap();
    store.put_acme_order(order(&web)).await.unwrap();
    let own = certificate(CertificateSource::Custom, "a1");
    store
        .import_certificate(web.id, name("shop.test"), own, by(31))
        .await
        .unwrap();
    store.delete_app(web.id, by(32)).await.unwrap();
    assert!(store.served_certificates(None).await.unwrap().is_empty());
    assert!(store.due_hostnames(at(1000), 9).await.unwrap().is_empty());
    assert_eq!(
        store
            .acme_order(Some(web.id), "shop.test".to_owned())
            .await
            .unwrap(),
        None
    );
    assert!(
        store
            .add_hostname(other.id, name("shop.test"), by(33))
            .await
            .unwrap()
            .holder
    );
}
