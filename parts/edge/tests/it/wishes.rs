//! What clients may say about the machine that answers.

use super::*;

#[tokio::test]
async fn clients_prefer_and_force_regions_and_machines() {
    let (one, port) = Program::listen(11, 0, |_| ok("one")).await;
    let (_two, _) = Program::listen(12, port, |_| ok("two")).await;
    let edge = TestEdge::start(vec![
        machine_of("web", 11, "iad", port),
        machine_of("web", 12, "ams", port),
    ])
    .await;
    let (first, second, nobody) = (machine_id(11), machine_id(12), machine_id(13));
    for _ in 0..4 {
        for (line, wanted) in [
            (format!("Fly-Prefer-Instance-Id: {first}"), "one"),
            (format!("Fly-Prefer-Instance-Id: {second}"), "two"),
            (format!("fly-force-instance-id: {first}"), "one"),
            (format!("fly-force-instance-id: {second}"), "two"),
            ("Fly-Prefer-Region: ams".to_owned(), "two"),
            ("Fly-Prefer-Region: nrt, ams".to_owned(), "two"),
            ("Fly-Force-Region: eu".to_owned(), "two"),
            ("Fly-Force-Region: us,eu".to_owned(), "one"),
        ] {
            let said = edge.say(&get("web", "/", &format!("{line}\r\n"))).await;
            assert!(
                said.ends_with(&format!("\r\n\r\n{wanted}")),
                "{line}\n{said}"
            );
        }
    }
    for (line, status, code) in [
        (format!("Fly-Force-Instance-Id: {nobody}"), 404, "PR02"),
        ("Fly-Force-Instance-Id: nonsense".to_owned(), 404, "PR02"),
        ("Fly-Force-Region: nrt".to_owned(), 503, "PR01"),
        (
            "Fly-Force-Region: everywhere".to_owned(),
            400,
            "bad_request",
        ),
    ] {
        let said = edge
            .say(&get("web", "/", &format!("{line}\r\nAccept: */*\r\n")))
            .await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains(code),
            "{line}\n{said}"
        );
    }
    one.heard.lock().unwrap().clear();
    for preferred in [nobody.to_string(), "nonsense".to_owned()] {
        loop {
            edge.say(&get(
                "web",
                "/",
                &format!("Fly-Prefer-Instance-Id: {preferred}\r\n"),
            ))
            .await;
            if let Some(heard) = one.heard().pop() {
                assert_eq!(
                    field(&heard, "fly-preferred-instance-unavailable"),
                    Some(&*preferred)
                );
                one.heard.lock().unwrap().clear();
                break;
            }
        }
    }
    edge.end().await;
}
