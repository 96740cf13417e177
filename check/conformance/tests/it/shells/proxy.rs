use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use mayfly_conformance::Stage;
use mayfly_testing::{CliRunner, NamespacePostgres};

use super::{end, expect_poured, pour};

/// A proxy that runs, and what it said of each port.
fn proxy(cli: &CliRunner, words: &[&str], ports: usize) -> (Child, Vec<String>) {
    let mut child = cli
        .command()
        .arg("proxy")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let said = (0..ports).map(|_| {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    });
    let said = said.collect();
    (child, said)
}

fn local_port(line: &str) -> u16 {
    let rest = line.strip_prefix("Proxying local port ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn get(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn ports_and_sockets_lead_to_machines_and_outlive_restarts() {
    let mut stage = Stage::set();
    let serve = "mkdir -p /tmp/w; hostname > /tmp/w/x; httpd -p '[::]:8081' -h /tmp/w; exec nc -ll -p 9000 -e cat";
    let id = stage.start(Stage::script(serve));
    let cli = stage.cloud.cli();
    // `curl` goes the same way.
    let timed = cli.run(["curl", "http://stage.internal:8081/x", "-n", "2", "-j"]);
    let timed: serde_json::Value = serde_json::from_str(timed.ok()).unwrap();
    let codes: Vec<i64> = timed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["http_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [200, 200], "{timed}");
    let unknown = cli.run(["curl", "http://nothing.internal:8081/", "--app", "stage"]);
    assert!(unknown.stderr.contains("has no address"), "{unknown:?}");
    let (child, said) = proxy(
        &cli,
        &["0:8081", "0:9000", "./web.sock:8081", "stage.internal"],
        3,
    );
    let port = local_port(&said[0]);
    let fetch = |port: u16| get(TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert!(fetch(port).contains(&id));
    let socket = cli.home().join("web.sock");
    assert!(get(UnixStream::connect(&socket).unwrap()).contains(&id));
    // Much data, both ways at once, each way ended on its own.
    let echo = TcpStream::connect(("127.0.0.1", local_port(&said[1]))).unwrap();
    let writer = echo.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pour(&writer, 64);
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        expect_poured(&echo, 64);
    });
    // The cloud may go away in between.
    stage.cloud.crash_and_restart();
    mayfly_testing::wait_until("the proxy leads on", || fetch(port).contains(&id));
    end(child);
    assert!(!socket.exists(), "the socket goes with the proxy");

    let (mut child, _) = proxy(&cli, &["0:8081", &id, "--app", "stage", "--watch-stdin"], 1);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let refused = cli.run(["proxy", "--stdio", "[fdaa:0:9::1]:22", "--app", "stage"]);
    assert!(
        refused.refused().contains("no address of a machine"),
        "{refused:?}"
    );
}

#[test]
fn psql_works_through_a_proxied_port_on_a_database_in_a_machine_s_network() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    let address = stage.get(&id)["private_ip"].as_str().unwrap().to_owned();
    let _database = NamespacePostgres::start(&stage.network_of(&id), address.parse().unwrap());
    let cli = stage.cloud.cli();
    let (child, said) = proxy(&cli, &["0:5432", "--app", "stage"], 1);
    let port = local_port(&said[0]).to_string();
    let psql = |statement: &str| {
        let mut command = Command::new("psql");
        command.args([
            "--no-psqlrc",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
        ]);
        let answer = command.args(["-At", "-c", statement]).output().unwrap();
        assert!(answer.status.success(), "{answer:?}");
        String::from_utf8(answer.stdout).unwrap()
    };
    assert_eq!(
        psql("SELECT host(inet_server_addr()) = '127.0.0.1', 6 * 7"),
        "f|42\n"
    );
    psql("CREATE TABLE line (number int, text text)");
    psql("INSERT INTO line SELECT n, repeat(n::text, 100) FROM generate_series(1, 20000) AS n");
    let rows = psql("COPY line TO STDOUT");
    assert_eq!(rows.lines().count(), 20_000);
    end(child);
}
