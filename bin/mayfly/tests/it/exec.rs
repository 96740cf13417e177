//! Programs run in machines.

use std::net::TcpListener;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::runner::User;
use crate::sample::{self, ID};
use crate::server::Server;

fn cloud(answer: Value) -> Server {
    let server = Server::start();
    server
        .says(
            &format!("GET /v1/apps/web/machines/{ID}"),
            200,
            sample::machine(),
        )
        .says(
            &format!("POST /v1/apps/web/machines/{ID}/exec"),
            200,
            answer,
        );
    server
}

#[test]
fn output_and_exit_code_are_the_program_s() {
    let server = cloud(json!({ "exit_code": 3, "stdout": "out\n", "stderr": "err\n" }));
    let user = User::of(&server).with("FLY_APP", "web");
    let ran = user.run_words(&["machine", "exec", ID, "ls -l /", "--timeout", "5"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(3), "out\n", "err\n")
    );
    user.run_words(&["machine", "exec", ID, "--", "ls", "-l", "a b"]);
    let asked: Vec<Value> = server
        .asked_for("POST")
        .iter()
        .map(|asked| asked.json())
        .collect();
    assert_eq!(
        asked,
        [
            json!({ "cmd": "ls -l /", "timeout": 5 }),
            json!({ "command": ["ls", "-l", "a b"] })
        ]
    );
    let json = user.run_words(&["machine", "exec", ID, "x", "--json"]);
    assert_eq!(json.code, Some(3));
    assert!(json.stdout.contains("\"exit_code\": 3"), "{json:?}");
}

/// A machine's program that greets, sends its input back on stderr, tells new sizes of its terminal, and ends as `end`
/// says when its input ends or is a `Q`.
pub(crate) fn echo(end: &'static str) -> (String, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let program = std::thread::spawn(move || {
        // The first connection asks for the machine, over plain HTTP.
        let (mut plain, _) = listener.accept().unwrap();
        let body = sample::machine().to_string();
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut plain, &mut head).unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut plain, answer.as_bytes()).unwrap();
        drop(plain);
        let (stream, _) = listener.accept().unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let request = socket.read().unwrap().into_text().unwrap();
        socket
            .send(Message::Binary(b"\x01hello\n".to_vec().into()))
            .unwrap();
        loop {
            match socket.read().unwrap() {
                Message::Binary(frame) => {
                    assert_eq!(frame[0], 0, "input travels on channel 0");
                    if frame.ends_with(b"Q") {
                        break;
                    }
                    let mut back = frame.to_vec();
                    back[0] = 2;
                    socket.send(Message::Binary(back.into())).unwrap();
                }
                Message::Text(said) if said.contains("stdin_end") => break,
                Message::Text(said) if said.contains("resize") => {
                    let said: Value = serde_json::from_str(&said).unwrap();
                    let size = &said["resize"];
                    let line = format!("\x01{}x{}", size["columns"], size["rows"]);
                    socket
                        .send(Message::Binary(line.into_bytes().into()))
                        .unwrap();
                }
                _ => {}
            }
        }
        socket.send(Message::Text(end.into())).unwrap();
        serde_json::from_str(&request).unwrap()
    });
    (url, program)
}

pub(crate) fn user(url: &str) -> User {
    User::stranger()
        .with("FLY_FLAPS_BASE_URL", url)
        .with("FLY_API_TOKEN", "secret")
        .with("FLY_APP", "web")
}

#[test]
fn input_goes_in_and_output_comes_out_by_channel() {
    let (url, program) = echo(r#"{"exit":{"code":7}}"#);
    let line = format!("machine exec {ID} --interactive --user app -e A=1 -- cat -n");
    let ran = user(&url).run_with_input(&line, b"typed\n");
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(7), "hello\n", "typed\n")
    );
    assert_eq!(
        program.join().unwrap(),
        json!({ "command": ["cat", "-n"], "env": { "A": "1" }, "user": "app", "cwd": null, "container": null,
            "tty": null })
    );
}

#[test]
fn without_a_command_there_is_a_shell_on_a_terminal_only() {
    let server = cloud(json!({}));
    let user = User::of(&server).with("FLY_APP", "web");
    let ran = user.run(&format!("machine exec {ID}"));
    assert!(ran.failed().contains("no command was given"), "{ran:?}");
}

#[test]
fn a_signal_is_an_exit_code_as_in_shells() {
    let (url, program) = echo(r#"{"exit":{"signal":9}}"#);
    let ran = user(&url).run(&format!("machine exec {ID} -i cat"));
    assert_eq!(ran.code, Some(137), "{ran:?}");
    program.join().unwrap();
}

#[test]
fn a_program_that_could_not_run_is_a_failure() {
    let (url, program) = echo(r#"{"exit":{"error":"no such user"}}"#);
    let ran = user(&url).run(&format!("machine exec {ID} -i cat"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no such user"), "{ran:?}");
    program.join().unwrap();
}
