//! Volumes with real images, loop devices and mounts.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use mayfly_driver::{Body, Driver, DriverError, Launch, Observed, VolumeHealth};
use mayfly_guest::VolumeLaunch;
use mayfly_host_api::{Filesystem, VolumeSpec};
use mayfly_types::VolumeId;

use crate::harness::{TestHost, launch, shell, wait_until};

const PATH: &str = "/data/store";

fn volume(number: u8) -> VolumeSpec {
    VolumeSpec {
        volume_id: VolumeId::from_random([number; 16]),
        size_gib: 1,
        filesystem: Filesystem::Ext4,
    }
}

fn launch_with(body: &Body, script: &str, volume: &VolumeSpec) -> Launch {
    let mut launch = launch(body, script);
    launch.spec.volumes = vec![VolumeLaunch {
        volume_id: volume.volume_id,
        image: "/".into(),
        guest_path: PATH.to_owned(),
    }];
    launch
}

async fn run_with(host: &TestHost, body: &Body, volume: &VolumeSpec) {
    host.driver.provision(body).await.unwrap();
    let launch = launch_with(body, "sleep 1000", volume);
    host.driver.launch(body, &launch).await.unwrap();
}

async fn end(host: &TestHost, body: &Body) {
    host.driver.kill(body.machine_id).await.unwrap();
    host.driver.clean(body.machine_id).await.unwrap();
}

/// Size in 1 KiB blocks, as the machine sees it.
async fn df(host: &TestHost, body: &Body) -> u64 {
    let script = format!("df -k {PATH} | tail -n 1 | awk '{{print $2}}'");
    let (code, printed) = host.exec(body, &script).await;
    assert_eq!(code, 0, "{printed}");
    printed.trim().parse().unwrap()
}

/// Everything the kernel has of this host's volumes, outside of machines.
fn in_kernel(host: &TestHost) -> String {
    let mark = host.data_dir.join("volumes");
    shell(&format!(
        "(losetup -a; cat /proc/mounts) | grep -F '{}'",
        mark.display()
    ))
}

#[tokio::test]
async fn data_outlives_the_machine_and_the_kernel_keeps_nothing() {
    let host = TestHost::new().await;
    let (first, second) = (host.body(1), host.body(2));
    let volume = volume(1);
    host.driver.make_volume(&volume).await.unwrap();
    host.driver.make_volume(&volume).await.unwrap();
    let fresh = host.driver.volume(volume.volume_id, None).await.unwrap();
    let fresh = fresh.expect("it was made");
    assert_eq!((fresh.size_gib, fresh.needs_restart), (1, false));
    assert!(fresh.stored_bytes < 32 << 20, "thin: {fresh:?}");

    run_with(&host, &first, &volume).await;
    let size = df(&host, &first).await;
    assert!((900_000..=1 << 20).contains(&size), "{size} KiB");
    let write = format!("echo kept > {PATH}/file && chown 1000:1000 {PATH}/file && sync");
    assert_eq!(host.exec(&first, &write).await, (0, String::new()));
    let mounts = host.exec(&first, "cat /proc/mounts").await.1;
    let line = mounts.lines().find(|line| line.contains(PATH)).unwrap();
    assert!(line.contains("ext4") && line.contains("nodev"), "{line}");
    assert!(!line.contains("nosuid") && line.contains("errors=remount-ro"));
    let loops = in_kernel(&host);
    assert_eq!(loops.lines().count(), 1, "one device, no mount: {loops}");
    let name = loops.split(':').next().unwrap().trim_start_matches("/dev/");
    let fact = |fact: &str| shell(&format!("cat /sys/block/{name}/loop/{fact}"));
    assert_eq!((&*fact("autoclear"), &*fact("dio")), ("1\n", "1\n"));

    // In use: neither for another machine, nor to be removed.
    let seen = host.driver.volume(volume.volume_id, Some(first.machine_id));
    let space = seen.await.unwrap().unwrap().space.unwrap();
    assert_eq!(space.blocks * space.block_size / 1024, size);
    assert!(space.blocks_free < space.blocks);
    assert!(host.driver.remove_volume(volume.volume_id).await.is_err());

    host.driver.freeze(first.machine_id).await.unwrap();
    assert_eq!(in_kernel(&host), loops, "it is kept while suspended");
    host.driver.thaw(first.machine_id).await.unwrap();

    end(&host, &first).await;
    assert_eq!(in_kernel(&host), "", "taken back with the last process");
    run_with(&host, &second, &volume).await;
    let read = host
        .exec(&second, &format!("cat {PATH}/file; stat -c %u {PATH}/file"))
        .await;
    assert_eq!(read, (0, "kept\n1000\n".to_owned()));
    end(&host, &second).await;
    // The directory is its user's, what is in it stays as it was.
    let mut launch = launch_with(&second, "touch /data/store/mine && sleep 1000", &volume);
    launch.spec.containers[0].processes[0].user = "1234:567".to_owned();
    host.driver.launch(&second, &launch).await.unwrap();
    let owners = format!("stat -c %u:%g {PATH} {PATH}/file");
    let (_, owners) = host.exec(&second, &owners).await;
    assert_eq!(owners, "1234:567\n1000:1000\n");
    while host.exec(&second, &format!("test -e {PATH}/mine")).await.0 != 0 {}
    host.driver.remove(second.machine_id).await.unwrap();
    host.driver.remove(first.machine_id).await.unwrap();

    host.driver.remove_volume(volume.volume_id).await.unwrap();
    host.driver.remove_volume(volume.volume_id).await.unwrap();
    let gone = host.driver.volume(volume.volume_id, None).await.unwrap();
    assert_eq!(gone, None);
    assert_eq!(host.leftovers(), Vec::<String>::new());
    host.finish().await;
}

/// The kernels that online growth is refused on (no CAP_SYS_RESOURCE) and the others come to the same end.
#[tokio::test]
async fn a_volume_grows_at_once_or_with_the_next_start() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let volume = volume(1);
    let id = volume.volume_id;
    host.driver.make_volume(&volume).await.unwrap();
    assert!(
        !host.driver.grow_volume(id, 2, None).await.unwrap(),
        "nobody has it"
    );
    run_with(&host, &body, &volume).await;
    let before = df(&host, &body).await;
    assert!(before > 1_900_000, "{before} KiB");
    host.exec(&body, &format!("echo kept > {PATH}/file")).await;

    let machine = Some(body.machine_id);
    let needs_restart = host.driver.grow_volume(id, 3, machine).await.unwrap();
    let seen = host.driver.volume(id, machine).await.unwrap().unwrap();
    assert_eq!((seen.size_gib, seen.needs_restart), (3, needs_restart));
    let now = df(&host, &body).await;
    assert_eq!(now > before, !needs_restart, "{before} then {now}");
    // A machine that was restarted by its policy gets the new size, too.
    end(&host, &body).await;
    assert_eq!(
        host.driver.ready_volume(id).await.unwrap(),
        VolumeHealth::Good
    );
    run_with(&host, &body, &volume).await;
    let after = df(&host, &body).await;
    assert!(after > 2_900_000, "{after} KiB");
    let seen = host.driver.volume(id, machine).await.unwrap().unwrap();
    assert_eq!((seen.size_gib, seen.needs_restart), (3, false));
    assert_eq!(
        host.exec(&body, &format!("cat {PATH}/file")).await.1,
        "kept\n"
    );
    host.driver.grow_volume(id, 2, machine).await.unwrap();
    let seen = host.driver.volume(id, machine).await.unwrap().unwrap();
    assert_eq!(seen.size_gib, 3, "it never shrinks");
    host.finish().await;
}

#[tokio::test]
async fn a_damaged_disk_is_repaired_or_said_to_be_lost() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let volume = volume(1);
    let id = volume.volume_id;
    host.driver.make_volume(&volume).await.unwrap();
    assert_eq!(
        host.driver.ready_volume(id).await.unwrap(),
        VolumeHealth::Good
    );
    run_with(&host, &body, &volume).await;
    host.exec(&body, &format!("echo kept > {PATH}/file; sync"))
        .await;
    // What a host that lost power finds: the journal is still to be replayed.
    let image = host.data_dir.join(format!("volumes/{id}/disk.ext4"));
    let copy = image.with_extension("copy");
    let copied = shell(&format!(
        "cp --sparse=always {} {} && echo done",
        image.display(),
        copy.display()
    ));
    assert_eq!(copied, "done\n");
    end(&host, &body).await;
    fs::rename(&copy, &image).unwrap();
    assert_eq!(
        host.driver.ready_volume(id).await.unwrap(),
        VolumeHealth::Good
    );
    assert_eq!(in_kernel(&host), "", "a trial leaves nothing");

    let disk = File::options().write(true).open(&image).unwrap();
    disk.write_all_at(&[0; 1024], 1024).unwrap();
    match host.driver.ready_volume(id).await.unwrap() {
        VolumeHealth::Repaired(said) => assert!(!said.is_empty()),
        other => panic!("{other:?}"),
    }
    run_with(&host, &body, &volume).await;
    assert_eq!(
        host.exec(&body, &format!("cat {PATH}/file")).await.1,
        "kept\n"
    );
    end(&host, &body).await;

    disk.set_len(0).unwrap();
    disk.set_len(1 << 30).unwrap();
    match host.driver.ready_volume(id).await.unwrap() {
        VolumeHealth::Damaged(said) => assert!(said.contains("uperblock"), "{said}"),
        other => panic!("{other:?}"),
    }
    let failed = host
        .driver
        .launch(&body, &launch_with(&body, "true", &volume))
        .await;
    match failed {
        Err(DriverError::Guest { reason }) => assert!(reason.contains(id.as_str()), "{reason}"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(&image).unwrap();
    match host.driver.ready_volume(id).await.unwrap() {
        VolumeHealth::Damaged(said) => assert!(said.contains("there is no"), "{said}"),
        other => panic!("{other:?}"),
    }
    host.finish().await;
}

#[tokio::test]
async fn whoever_is_killed_the_disk_comes_free() {
    let mut host = TestHost::new().await;
    let (body, other) = (host.body(1), host.body(2));
    let volume = volume(1);
    let id = volume.volume_id;
    host.driver.make_volume(&volume).await.unwrap();
    run_with(&host, &body, &volume).await;
    // The daemon: the machine runs on with its volume, and whoever comes back knows it.
    host.restart().await;
    let machine = Some(body.machine_id);
    let seen = host.driver.volume(id, machine).await.unwrap().unwrap();
    assert!(seen.space.unwrap().blocks_free > 0);
    assert_eq!(host.exec(&body, &format!("touch {PATH}/x")).await.0, 0);
    // The monitor, and with it the guest.
    let Observed::Running(guest) = host.driver.observe(body.machine_id).await.unwrap() else {
        panic!("it runs");
    };
    shell(&format!("kill -9 {}", guest.monitor_pid));
    host.exited(&body, &guest).await;
    wait_until("the kernel has taken it back", || {
        in_kernel(&host).is_empty()
    })
    .await;
    run_with(&host, &other, &volume).await;
    assert_eq!(host.exec(&other, &format!("ls {PATH}/x")).await.0, 0);
    // A making that was interrupted: what it left is of no use to anybody.
    let half = VolumeSpec {
        volume_id: VolumeId::from_random([2; 16]),
        ..volume
    };
    let home = host.data_dir.join(format!("volumes/{}", half.volume_id));
    fs::create_dir(&home).unwrap();
    fs::write(home.join("disk.new"), [1; 4096]).unwrap();
    assert_eq!(
        host.driver.volume(half.volume_id, None).await.unwrap(),
        None
    );
    host.driver.make_volume(&half).await.unwrap();
    assert_eq!(
        host.driver.ready_volume(half.volume_id).await.unwrap(),
        VolumeHealth::Good
    );
    // Nothing stays of one that cannot be made.
    let huge = VolumeSpec {
        volume_id: VolumeId::from_random([3; 16]),
        size_gib: u32::MAX,
        ..volume
    };
    let refused = host.driver.make_volume(&huge).await;
    assert!(refused.is_err(), "no file is so large");
    assert!(
        !host
            .data_dir
            .join(format!("volumes/{}", huge.volume_id))
            .exists()
    );
    host.finish().await;
}

#[tokio::test]
async fn all_containers_of_a_machine_see_its_volume() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let volume = volume(1);
    host.driver.make_volume(&volume).await.unwrap();
    host.driver.provision(&body).await.unwrap();
    let wait = format!(
        "while ! test -e {PATH}/from-side; do sleep 0.02; done; echo main > {PATH}/main; sleep 1000"
    );
    let mut launch = launch_with(&body, &wait, &volume);
    let mut side = launch.spec.containers[0].clone();
    side.name = "side".to_owned();
    let script = format!("touch {PATH}/from-side; sleep 1000");
    side.processes[0].argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let image = launch.images["main"];
    launch.images.insert("side".to_owned(), image);
    launch.spec.containers.push(side);
    host.driver.launch(&body, &launch).await.unwrap();
    while host.exec(&body, &format!("cat {PATH}/main")).await.1 != "main\n" {}
    assert_eq!(in_kernel(&host).lines().count(), 1, "one device for both");
    end(&host, &body).await;
    assert_eq!(in_kernel(&host), "");
    host.finish().await;
}
