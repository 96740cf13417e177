//! Blue-green: what fails once it has the traffic gives it back.

use std::thread;

use mayfly_testing::wait_until;

use super::{Shop, id};

const APP: &str = r#"
[experimental]
exec = ["/bin/echo-server"]

[http_service]
internal_port = 8080

[[http_service.checks]]
path = "/check"
interval = "1s"
timeout = "1s"
"#;

#[test]
fn a_check_that_turns_red_in_traffic_moves_it_back() {
    let shop = Shop::open();
    shop.stage.import_echo();
    shop.write(APP);
    let deploy = |more: &[&str]| {
        let line = "deploy --image echo:latest --ha=false --smoke-checks=false";
        shop.cli.run(line.split(' ').chain(more.iter().copied()))
    };
    deploy(&[]).ok();
    let old = shop.machines("app");
    let answered_by = |path: &str| {
        let answer = shop.stage.cloud.visit("stage", path).unwrap();
        answer.json()["machine"].as_str().unwrap().to_owned()
    };
    thread::scope(|scope| {
        let failed = scope.spawn(|| deploy(&["--strategy", "bluegreen", "--wait-timeout", "20"]));
        wait_until("the new machine takes requests", || {
            answered_by("/") != id(&old[0])
        });
        wait_until("its check turns red", || {
            answered_by("/?healthy=no") != id(&old[0])
        });
        wait_until("the old machine takes requests again", || {
            let answer = shop.stage.cloud.visit("stage", "/").unwrap();
            // For a moment the edge knows of no healthy machine.
            answer.status == 200 && answer.json()["machine"] == old[0]["id"]
        });
        let failed = failed.join().unwrap();
        assert!(failed.refused().contains("is critical"), "{failed:?}");
        let said = "A new machine fails in traffic: machine ";
        assert!(failed.stderr.contains(said), "{failed:?}");
    });
    wait_until("the old machine is the only one", || {
        let left = shop.machines("app");
        left.len() == 1 && left[0]["id"] == old[0]["id"]
    });
    assert_eq!(answered_by("/"), id(&old[0]));
    // It is an app like any other after that.
    let next = deploy(&["--strategy", "bluegreen"]);
    assert!(next.ok().contains("is live"), "{next:?}");
    assert_ne!(answered_by("/"), id(&old[0]));
}
