use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use mayfly_guest::LaunchSpec;
use mayfly_machine::{GuestSize, RootfsSpec};
use mayfly_runtime::TestClock;
use mayfly_types::NetworkId;

use super::*;

fn driver() -> FakeDriver {
    FakeDriver::new(Arc::new(TestClock::default()))
}

fn body() -> Body {
    Body {
        machine_id: MachineId::from_random([7; 14]),
        network: NetworkId(1),
        private_ip: Ipv6Addr::LOCALHOST,
        ipv4: Ipv4Addr::LOCALHOST,
        size: GuestSize::default(),
        swap_mib: 0,
        rootfs: RootfsSpec::default(),
    }
}

fn launch(number: u8) -> Launch {
    let launch_id = LaunchId::from_random([number; 12]);
    Launch {
        launch_id,
        spec: LaunchSpec {
            version: 1,
            machine_id: body().machine_id,
            launch_id,
            hostname: "h".into(),
            log_dir: "/".into(),
            netns: None,
            cgroups: Vec::new(),
            containers: Vec::new(),
            etc_hosts: String::new(),
            etc_resolv_conf: String::new(),
            stop_signal: 2,
            sandbox: None,
            volumes: Vec::new(),
        },
        images: BTreeMap::new(),
        keep_rootfs: false,
    }
}

#[tokio::test]
async fn a_restarted_supervisor_finds_its_guests_and_a_reboot_loses_them() {
    let driver = driver();
    let machine = body().machine_id;
    driver.provision(&body()).await.unwrap();
    let record = driver.launch(&body(), &launch(1)).await.unwrap();
    let after_restart = driver.clone();
    drop(driver);
    assert_eq!(
        after_restart.observe(machine).await.unwrap(),
        Observed::Running(record.clone())
    );
    assert_eq!(
        after_restart.launch(&body(), &launch(1)).await.unwrap(),
        record,
        "the same launch again is the same guest"
    );
    after_restart.launch(&body(), &launch(2)).await.unwrap_err();
    after_restart.reboot();
    let seen = after_restart.observe(machine).await.unwrap();
    assert_eq!(seen, Observed::Absent);
    assert_eq!(after_restart.machines().await.unwrap(), [machine]);
}

#[tokio::test]
async fn scripted_failures_happen_before_or_after_the_effect() {
    let driver = driver();
    let machine = body().machine_id;
    let fault = Fault::Host("mount".into());
    driver.fail_next(Call::Launch, Edge::Before, fault.clone());
    driver.fail_next(Call::Launch, Edge::After, fault.clone());
    driver.launch(&body(), &launch(1)).await.unwrap_err();
    assert_eq!(driver.launches(machine), 0);
    driver.launch(&body(), &launch(1)).await.unwrap_err();
    assert_eq!(driver.launches(machine), 1, "it ran, the caller never knew");
    driver.fail_number(1, Edge::Before, fault);
    driver.observe(machine).await.unwrap();
    driver.observe(machine).await.unwrap_err();
}

#[tokio::test]
async fn waiting_for_an_exit_ends_with_it() {
    let driver = driver();
    let machine = body().machine_id;
    driver.launch(&body(), &launch(1)).await.unwrap();
    driver.stubborn(machine);
    driver.signal(machine, Signal::TERM).await.unwrap();
    let waiting = driver.exited(machine, launch(1).launch_id);
    let ending = async {
        tokio::task::yield_now().await;
        assert!(driver.end(machine, Ending::OutOfMemory));
    };
    let (exit, ()) = tokio::join!(waiting, ending);
    assert!(exit.unwrap().oom_killed);
}

#[tokio::test]
async fn a_held_call_goes_on_when_released() {
    let driver = driver();
    let (body, first) = (body(), launch(1));
    let mut hold = driver.hold_next(Call::Launch, Edge::After);
    let released = async {
        hold.reached().await;
        assert_eq!(driver.launches(body.machine_id), 1);
        drop(hold);
    };
    let (launched, ()) = tokio::join!(driver.launch(&body, &first), released);
    launched.unwrap();
}
