//! What a machine must not see, reach or do.

use mayfly_guest::ExecOutcome;

use crate::harness::{Machine, command, shell, wait_for};

const IDLE: &str = "while :; do sleep 1; done";

fn idle() -> Machine {
    let mut machine = shell(IDLE);
    machine.start();
    machine
}

/// The script must fail, and say so.
fn refused(machine: &Machine, script: &str) {
    let (outcome, output, errors) = machine.sh(script);
    assert!(
        !matches!(outcome, ExecOutcome::Exited { code: 0 }),
        "{script} succeeded: {output}{errors}"
    );
}

#[test]
fn nothing_of_the_host_is_visible() {
    let machine = idle();
    let host_dir = machine
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned();
    let (_, output, _) = machine.sh(
        "cat /proc/self/mountinfo /proc/mounts /proc/1/cmdline /proc/1/comm /proc/1/mountinfo /proc/self/cgroup; \
         cat /proc/1/environ; readlink /proc/1/exe /proc/1/cwd /proc/1/root; ls -l /proc/1/fd; ls /proc/*/cwd -l",
    );
    assert!(!output.contains(&host_dir), "{output}");
    assert!(!output.contains("/target/"), "{output}");
    assert!(!output.contains("monitor"), "{output}");
    assert!(output.contains("mayfly-init"), "{output}");
    refused(&machine, "cat /proc/1/environ");
    refused(&machine, "readlink /proc/1/exe");
    // The numbers can be listed, but nothing behind them looked at.
    refused(&machine, "readlink /proc/1/fd/0");
    refused(&machine, "cat /proc/1/fd/0");
    refused(&machine, "ls /proc/1/root/");
    let (_, output, _) = machine.sh("ls /proc | grep -c '^[0-9]'");
    assert!(output.trim().parse::<u32>().unwrap() < 10, "{output}");
    let (_, output, _) = machine.sh("ls -l /proc/self/fd | wc -l");
    // total, stdin, stdout, stderr, the directory itself
    assert_eq!(output.trim(), "5");
}

#[test]
fn dangerous_parts_of_proc_and_sys_are_masked_or_read_only() {
    let machine = idle();
    let (_, output, _) =
        machine.sh("cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l");
    assert_eq!(output, "0\n0\n");
    for script in [
        "echo 1 > /proc/sys/kernel/panic",
        "echo c > /proc/sysrq-trigger",
        "echo x > /sys/kernel/uevent_helper",
        "mkdir /sys/fs/cgroup/x",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "mount -t tmpfs none /mnt",
        "mount --bind /proc /tmp",
        "unshare -U true",
        "unshare -m true",
        "mknod /tmp/disk b 254 0",
        "chroot /proc/1/root true",
        "nsenter -t 1 -m true",
        "hostname other",
        "dmesg",
        "reboot -f",
        "insmod /tmp/x.ko",
        "swapon /tmp/x",
        "sysctl -w vm.swappiness=1",
    ] {
        refused(&machine, script);
    }
}

#[test]
fn the_init_cannot_be_killed_from_inside() {
    let machine = idle();
    let guest = machine.guest();
    machine.sh("kill -9 1; kill -TERM 1; kill -INT 1; kill -STOP 1; kill -SEGV 1; kill -QUIT 1");
    let (outcome, output, _) = machine.sh("echo alive");
    assert_eq!(outcome, ExecOutcome::Exited { code: 0 });
    assert_eq!(output, "alive\n");
    assert!(crate::harness::lives(
        guest.init_pid,
        guest.init_start_ticks
    ));
}

#[test]
fn capabilities_are_docker_s_without_mknod() {
    let machine = idle();
    let (_, output, _) = machine.sh("grep ^Cap /proc/self/status");
    for (set, wanted) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a00425fb"),
        ("CapEff", "00000000a00425fb"),
        ("CapBnd", "00000000a00425fb"),
        ("CapAmb", "0000000000000000"),
    ] {
        let wanted_without_mknod = u64::from_str_radix(wanted, 16).unwrap() & !(1 << 27);
        assert!(
            output.contains(&format!("{set}:\t{wanted_without_mknod:016x}")),
            "{set} in {output}"
        );
    }
    let mut start = command(&["grep", "^Cap", "/proc/self/status"]);
    start.user = Some("app".into());
    let (_, output, _) = machine.exec(start).finish();
    assert!(output.contains("CapPrm:\t0000000000000000"), "{output}");
    assert!(output.contains("CapEff:\t0000000000000000"), "{output}");
    let (_, output, _) = machine.sh("grep ^Seccomp: /proc/self/status");
    assert_eq!(output, "Seccomp:\t2\n");
}

#[test]
fn devices_are_the_ordinary_ones() {
    let machine = idle();
    let (_, output, _) = machine.sh(
        "ls /dev; echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 8 /dev/urandom | wc -c; \
         echo x > /dev/full 2>/dev/null || echo full; touch /dev/shm/x && echo shm",
    );
    for wanted in [
        "null\n",
        "ptmx\n",
        "pts\n",
        "shm\n",
        "stdout\n",
        "tty\n",
        "4\n8\nfull\nshm\n",
    ] {
        assert!(output.contains(wanted), "{wanted:?} in {output}");
    }
    for other in ["sda", "vda", "loop", "kmsg", "mem\n", "kvm", "fuse"] {
        assert!(!output.contains(other), "{other} in {output}");
    }
}

#[test]
fn the_network_is_its_own() {
    let machine = idle();
    let (_, output, _) = machine.sh("ls /sys/class/net; ip -o link | wc -l");
    assert!(output.starts_with("lo\n"), "{output}");
    let (outcome, _, errors) = machine.sh("nc -l -p 7777 -e true & for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 7777 </dev/null && exit 0; sleep 0.1; done; exit 1");
    assert_eq!(outcome, ExecOutcome::Exited { code: 0 }, "{errors}");
}

#[test]
fn any_user_may_take_a_low_port() {
    let machine = idle();
    let mut start = command(&[
        "sh",
        "-c",
        "nc -l -p 80 -w 1; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    ]);
    start.user = Some("app".into());
    let (_, output, errors) = machine.exec(start).finish();
    assert_eq!(output, "0\n", "{errors}");
    assert!(!errors.contains("Permission denied"), "{errors}");
}

#[test]
fn open_files_are_limited_by_the_daemon_s_own() {
    let machine = idle();
    let (_, output, _) = machine.sh("ulimit -n; ulimit -Hn; ulimit -c");
    let limits: Vec<u64> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        limits[0] >= 1024 && limits[0] == limits[1] && limits[2] == 0,
        "{output}"
    );
}

#[test]
fn programs_do_not_inherit_the_host_s_signals_or_masks() {
    let machine = idle();
    let start = command(&["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
    let (_, output, _) = machine.exec(start).finish();
    assert_eq!(
        output,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn nothing_of_the_starter_stays_open() {
    let mut machine = shell(IDLE);
    let careless = std::fs::File::create(machine.path("inherited")).unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    machine.start();
    let guest = machine.guest();
    for pid in [guest.init_pid, guest.monitor_pid] {
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            // The connection that asked just now may be closed meanwhile.
            let Ok(target) = std::fs::read_link(entry.unwrap().path()) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            assert!(!target.contains("/inherited"), "{pid} has {target}");
        }
    }
}

#[test]
fn nothing_is_left_behind_on_the_host() {
    let mut machine = shell("true");
    machine.run();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = machine.path("");
    assert!(!mounts.contains(&*dir.to_string_lossy()), "{mounts}");
    wait_for("the socket is gone", || {
        (!machine.run_dir().join("control.sock").exists()).then_some(())
    });
}
