use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mayfly_conformance::Stage;
use mayfly_testing::wait_until;
use serde_json::json;

use super::{end, expect_poured, machine, pour, resident_mib};

/// Stock clients with a certificate, as a user has it.
struct Client<'a> {
    stage: &'a Stage,
    key: PathBuf,
    address: String,
}

impl<'a> Client<'a> {
    fn of(stage: &'a Stage, id: &str, issue: &[&str]) -> Self {
        let cli = stage.cloud.cli();
        let name = format!("key{}", issue.join("").replace(['-', ' '], ""));
        let path = format!("./{name}");
        let words = ["ssh", "issue", "personal", path.as_str(), "--hours", "1"];
        cli.run(words.iter().chain(issue)).ok();
        Client::of_key(stage, id, cli.home().join(name))
    }

    fn of_key(stage: &'a Stage, id: &str, key: PathBuf) -> Self {
        let address = stage.get(id)["private_ip"].as_str().unwrap().to_owned();
        Client {
            stage,
            key,
            address,
        }
    }

    fn command(&self, program: &str) -> Command {
        self.talkative(program, "ERROR")
    }

    fn talkative(&self, program: &str, level: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("SSH_AUTH_SOCK").arg("-i").arg(&self.key);
        command.args(["-o", &format!("LogLevel={level}")]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            command.args(["-o", option]);
        }
        command
    }

    fn ssh(&self, user: &str, words: &[&str]) -> Output {
        let mut command = self.command("ssh");
        command.arg(format!("{user}@{}", self.address)).args(words);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn stock_clients_work_with_an_issued_certificate() {
    let (stage, id) = machine();
    let client = Client::of(&stage, &id, &[]);
    let ran = client.ssh("root", &["hostname; id -un; echo err >&2; exit 7"]);
    assert_eq!(
        (text(&ran.stdout), text(&ran.stderr), ran.status.code()),
        (format!("{id}\nroot\n"), "err\n".to_owned(), Some(7))
    );
    assert_eq!(text(&client.ssh("hello", &["id -un"]).stdout), "hello\n");
    // The name of upstream's client for a container; another one would be refused there.
    let mut command = client.command("ssh");
    command.args(["-o", "SendEnv=FLY_SSH_MACHINE LC_ALL"]);
    command.env("FLY_SSH_MACHINE", "1").env("LC_ALL", "C.UTF-8");
    let ran = command
        .arg(format!("root@{}", client.address))
        .arg("echo $LC_ALL")
        .output()
        .unwrap();
    assert_eq!(text(&ran.stdout), "C.UTF-8\n", "{}", text(&ran.stderr));
    let ran = client.ssh("root", &["-tt", "stty size; tty"]);
    assert!(text(&ran.stdout).contains("/dev/pts/"), "{ran:?}");
    let killed = client.ssh("root", &["kill -TERM $$"]);
    assert_ne!(killed.status.code(), Some(0));

    // Files, by scp and by sftp.
    let home = stage.cloud.cli().home().to_owned();
    let content: Vec<u8> = (0..2_000_000u32)
        .map(|number| (number % 253) as u8)
        .collect();
    std::fs::write(home.join("data"), &content).unwrap();
    super::set_mode(&home.join("data"), 0o640);
    let remote = |path: &str| format!("root@[{}]:{path}", client.address);
    let copy = |from: String, to: String| {
        let mut command = client.command("scp");
        let done = command
            .args(["-p", &from, &to])
            .current_dir(&home)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
    };
    copy("data".to_owned(), remote("/tmp/data"));
    let seen = client.ssh("root", &["stat -c '%a %s' /tmp/data"]);
    assert_eq!(text(&seen.stdout), "640 2000000\n");
    copy(remote("/tmp/data"), "back".to_owned());
    assert_eq!(std::fs::read(home.join("back")).unwrap(), content);
    std::fs::write(
        home.join("batch"),
        "mkdir /tmp/dir\nput data /tmp/dir/one\nrename /tmp/dir/one /tmp/dir/two\nls /tmp/dir\n",
    )
    .unwrap();
    let mut command = client.command("sftp");
    let batch = command
        .args(["-b", "batch"])
        .arg(format!("root@[{}]", client.address))
        .current_dir(&home)
        .output()
        .unwrap();
    assert!(batch.status.success(), "{}", text(&batch.stderr));
    assert!(text(&batch.stdout).contains("/tmp/dir/two"));

    // A port of the machine itself, and the way through the API.
    let served = client.ssh(
        "root",
        &["mkdir -p /tmp/w && echo inside > /tmp/w/x && httpd -p 127.0.0.1:8181 -h /tmp/w"],
    );
    assert!(served.status.success(), "{served:?}");
    let mut command = client.command("ssh");
    let mut forward = command
        .args(["-W", "localhost:8181", &format!("root@{}", client.address)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = forward.stdin.as_mut().unwrap();
    input.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    forward
        .stdout
        .as_mut()
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.contains("inside"), "{answer}");
    end(forward);
    let cli = stage.cloud.cli();
    let mayfly = cli.command();
    let proxy = format!("{} proxy --stdio %h:%p", mayfly.get_program().display());
    let mut command = client.command("ssh");
    let ran = command
        .env("HOME", cli.home())
        .args(["-o", &format!("ProxyCommand={proxy}")])
        .arg(format!("root@{id}.vm.stage.internal"))
        .arg("hostname")
        .output()
        .unwrap();
    assert_eq!(text(&ran.stdout).trim(), id, "{}", text(&ran.stderr));

    let log = cli.run(["ssh", "log", "--json"]).json();
    let by_ssh = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["after"]["through"] == "ssh" && entry["machine_id"] == id.as_str());
    let by_ssh = by_ssh.unwrap_or_else(|| panic!("no session in {log}"));
    assert!(
        by_ssh["after"]["visitor"].as_str().unwrap().contains('@'),
        "{by_ssh}"
    );
    assert!(
        by_ssh["actor"].as_str().unwrap().starts_with("user:"),
        "{by_ssh}"
    );
}

#[test]
fn an_image_s_own_server_has_port_22_as_long_as_it_listens() {
    // From its start in one machine, and later in the other.
    let stage = Stage::set();
    let own = "mkdir -p /tmp/w; echo own > /tmp/w/x; httpd -p [::]:22 -h /tmp/w";
    let early = stage.start(Stage::script(&format!("{own}; sleep inf")));
    let late = stage.start(Stage::script("sleep inf"));
    let client = Client::of(&stage, &late, &[]);
    assert_eq!(text(&client.ssh("root", &["hostname"]).stdout).trim(), late);
    let started = client.ssh("root", &[own]);
    assert!(started.status.success(), "{}", text(&started.stderr));
    for id in [&early, &late] {
        let address = stage.get(id)["private_ip"].as_str().unwrap().to_owned();
        wait_until("the program's own port 22 answers", || {
            let Ok(mut stream) = std::net::TcpStream::connect(format!("[{address}]:22")) else {
                return false;
            };
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(2)));
            let mut answer = String::new();
            let asked = stream.write_all(b"GET /x HTTP/1.0\r\n\r\n");
            let _ = stream.read_to_string(&mut answer);
            asked.is_ok() && answer.ends_with("own\n")
        });
        // Ours is behind it when it is gone.
        let cli = stage.cloud.cli();
        let words = ["ssh", "console", "--app", "stage", "--machine", id, "-C"];
        cli.run(words.iter().chain(&["killall httpd"])).ok();
        let client = Client::of_key(&stage, id, client.key.clone());
        wait_until("the shell door answers again", || {
            text(&client.ssh("root", &["hostname"]).stdout).trim() == id
        });
    }
}

#[test]
fn a_gigabyte_passes_with_little_memory() {
    const MEBIBYTES: u64 = 1100; // Past the gigabyte after which clients change their keys.
    let (stage, id) = machine();
    let client = Client::of(&stage, &id, &[]);
    let daemon = stage.cloud.daemon_pid();
    let before = resident_mib(daemon);
    let mut command = client.command("ssh");
    let mut cat = command
        .arg(format!("root@{}", client.address))
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let grown = std::thread::scope(|scope| {
        scope.spawn(|| pour(input, MEBIBYTES));
        expect_poured(output, MEBIBYTES);
        resident_mib(daemon).saturating_sub(before)
    });
    assert!(cat.wait().unwrap().success());
    assert!(grown < 64, "the daemon grew by {grown} MiB");
}

#[test]
fn a_program_hears_that_its_terminal_has_another_size() {
    let (stage, id) = machine();
    let client = Client::of(&stage, &id, &[]);
    let inside =
        "trap \"stty size; exit 5\" WINCH; stty size; echo up; while :; do sleep 0.1; done";
    let mut command = client.command("ssh");
    command.args(["-tt", &format!("root@{}", client.address), inside]);
    let words: Vec<String> = command.get_args().map(quoted).collect();
    let seen = stage.cloud.cli().home().join("seen");
    // `script` gives them a terminal, as a person has one.
    let script = format!(
        "stty rows 31 cols 77; (until grep -q up {seen}; do sleep 0.05; done; stty rows 40 cols 99 </dev/tty) & \
         exec ssh {}",
        words.join(" "),
        seen = seen.display(),
    );
    let mut session = Command::new("script")
        .args(["-qefc", &script, "/dev/null"])
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&seen).unwrap())
        .spawn()
        .unwrap();
    // The end of its input would be typed, too.
    let _keyboard = session.stdin.take();
    let ran = session.wait().unwrap();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>().join(" "),
        "31 77 up 40 99"
    );
    assert_eq!(ran.code(), Some(5));
}

fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_string_lossy())
}

#[test]
fn a_hundred_sessions_at_once() {
    let (stage, id) = machine();
    let client = Client::of(&stage, &id, &[]);
    let mut sessions: Vec<_> = (0..100)
        .map(|number| {
            let mut command = client.command("ssh");
            command
                .arg(format!("root@{}", client.address))
                .arg(format!("echo {number}; cat"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    // All are there before the first is let go.
    for (number, session) in sessions.iter_mut().enumerate() {
        let mut line = String::new();
        let mut output = BufReader::new(session.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{number}\n"));
    }
    for mut session in sessions {
        drop(session.stdin.take());
        assert!(session.wait().unwrap().success());
    }
}

#[test]
fn certificates_of_others_open_nothing() {
    let (stage, id) = machine();
    let cli = stage.cloud.cli();
    let refused = |client: &Client<'_>, user: &str, reason: &str| {
        let mut command = client.talkative("ssh", "INFO");
        let target = format!("{user}@{}", client.address);
        let ran = command.args([&target, "true"]).output().unwrap();
        assert_eq!(ran.status.code(), Some(255), "{ran:?}");
        let said = text(&ran.stderr);
        assert!(
            said.contains("Permission denied") && said.contains(reason),
            "{said}"
        );
    };
    let good = Client::of(&stage, &id, &[]);
    assert!(good.ssh("root", &["true"]).status.success());
    // Of another organization, which has an authority of its own.
    cli.run(["orgs", "create", "Other"]).ok();
    cli.run(["ssh", "issue", "other", "./stranger"]).ok();
    let stranger = Client {
        stage: good.stage,
        key: cli.home().join("stranger"),
        address: good.address.clone(),
    };
    refused(&stranger, "root", "");
    stage.create_app("second", "personal");
    let elsewhere = Client::of(&stage, &id, &["--apps", "second"]);
    refused(&elsewhere, "root", "not for app stage");
    let somebody = Client::of(&stage, &id, &["-u", "hello"]);
    refused(&somebody, "root", "not for user root");
    assert!(somebody.ssh("hello", &["true"]).status.success());
    // A key without a certificate.
    let bare = cli.home().join("bare");
    std::fs::copy(&good.key, &bare).unwrap();
    super::set_mode(&bare, 0o600);
    let bare = Client { key: bare, ..good };
    refused(&bare, "root", "");
    let path = "/v1/orgs/personal/ssh/certificates";
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKcVG0Zwn8nVQFR4mZz7tDQXIrYyVF7bXgMHs0aKu+y";
    for (body, field) in [
        (json!({"public_key": key, "hours": 73}), "hours"),
        (json!({"public_key": "ssh-rsa AAAA"}), "public_key"),
        (json!({"public_key": key, "users": ["a,b"]}), "users"),
    ] {
        let answer = stage.cloud.post(path, body);
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(field), "{}", answer.text());
    }
}

#[test]
fn a_killed_daemon_ends_sessions_clearly_and_serves_again() {
    let (mut stage, id) = machine();
    let (key, address) = {
        let client = Client::of(&stage, &id, &[]);
        (client.key, client.address)
    };
    let mut command = Client {
        stage: &stage,
        key: key.clone(),
        address: address.clone(),
    }
    .command("ssh");
    let mut session = command
        .arg(format!("root@{address}"))
        .arg("echo up; cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(session.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    stage.cloud.crash_and_restart();
    let ended = session.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(255), "{ended:?}");
    let client = Client {
        stage: &stage,
        key,
        address,
    };
    wait_until("the next session works", || {
        text(&client.ssh("root", &["hostname"]).stdout).trim() == id
    });
}

#[test]
fn an_expired_certificate_opens_nothing() {
    let (stage, id) = machine();
    let key = stage.cloud.cli().home().join("short");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public_key = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let sign = |ttl: &str| {
        let body = json!({"public_key": public_key, "ttl": ttl});
        let path = "/v1/orgs/personal/ssh/certificates";
        let answer = stage.cloud.post(path, body).expect(201);
        let certificate = answer["certificate"].as_str().unwrap();
        let file = key.with_file_name("short-cert.pub");
        std::fs::write(file, format!("{certificate}\n")).unwrap();
    };
    let client = Client::of_key(&stage, &id, key.clone());
    sign("10m");
    let ran = client.ssh("root", &["id -un"]);
    assert_eq!(text(&ran.stdout), "root\n", "{}", text(&ran.stderr));
    sign("1s");
    let ssh = || {
        let mut command = client.talkative("ssh", "DEBUG1");
        let target = format!("root@{}", client.address);
        let ran = command.args([target.as_str(), "id", "-un"]);
        ran.stdin(Stdio::null()).output().unwrap()
    };
    wait_until("the certificate is refused", || !ssh().status.success());
    // By the server: the client has shown it.
    let said = text(&ssh().stderr);
    assert!(said.contains("Offering public key"), "{said}");
    assert!(said.contains("ED25519-CERT"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    let refused = stage.cloud.post(
        "/v1/orgs/personal/ssh/certificates",
        json!({"public_key": public_key, "ttl": "73h"}),
    );
    assert!(refused.text().contains("ttl"), "{}", refused.text());
}
