use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn programs_run_to_their_end() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let path = format!("{one}/exec");
    for (body, code, stdout) in [
        (json!({"cmd": "echo 'a  b' c"}), 0, "a  b c\n"),
        (json!({"command": ["echo", "hi"]}), 0, "hi\n"),
        (json!({"command": ["cat"], "stdin": "in"}), 0, "in"),
        (json!({"command": ["false"]}), 1, ""),
    ] {
        let answer = stage.post(&path, body.clone()).await.expect(200);
        assert_eq!(answer["exit_code"], code, "{body}");
        assert_eq!(answer["stdout"], stdout, "{body}");
    }
    for (body, status) in [
        (json!({}), 422),
        (json!({"cmd": "'open"}), 422),
        (json!({"cmd": "a", "command": ["b"]}), 422),
        (json!({"command": ["nonesuch"]}), 422),
        (json!({"command": ["echo"], "timeout": 61}), 422),
        (json!({"command": ["sleep"], "timeout": 1}), 408),
        (json!({"command": "echo"}), 400),
    ] {
        stage.post(&path, body).await.refused(status);
    }
    stage
        .post(&format!("{one}/stop"), json!({}))
        .await
        .expect(200);
    let refusal = stage.post(&path, json!({"cmd": "echo"})).await.refused(409);
    assert!(refusal.contains("stopped"), "{refusal}");
}

async fn connect(stage: &Stage, one: &str) -> WebSocketStream<TcpStream> {
    connect_by(stage, one, &format!("Bearer {}", stage.token)).await
}

async fn connect_by(stage: &Stage, one: &str, authorization: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{}{one}/exec/stream", stage.address);
    let mut request = url.into_client_request().unwrap();
    let shown = authorization.parse().unwrap();
    request.headers_mut().insert("authorization", shown);
    let stream = TcpStream::connect(stage.address).await.unwrap();
    client_async(request, stream).await.unwrap().0
}

#[tokio::test]
async fn a_shell_ends_with_the_token_that_opened_it() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let wish = json!({"profile": "deploy", "app": "stage", "name": "ci"});
    let made = stage
        .post("/v1/orgs/personal/tokens", wish)
        .await
        .expect(201);
    let token = made["token"].as_str().unwrap();
    let start = json!({"command": ["cat"]}).to_string();
    let mut kept = connect(&stage, &one).await;
    kept.send(Message::text(start.clone())).await.unwrap();
    let mut socket = connect_by(&stage, &one, token).await;
    socket.send(Message::text(start)).await.unwrap();
    socket.send(Message::binary(vec![0, b'a'])).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::binary(vec![1, b'a'])
    );
    let of_app = stage
        .get("/v1/orgs/personal/tokens?app=stage")
        .await
        .expect(200);
    let id = of_app["tokens"][0]["id"].as_str().unwrap();
    stage.delete(&format!("/v1/tokens/{id}")).await.expect(200);
    let last = tokio::time::timeout(Duration::from_secs(30), next_text(&mut socket)).await;
    let last = last.expect("the shell ends")["exit"]["error"].to_string();
    assert!(last.contains("revoked"), "{last}");
    // Somebody else's goes on.
    kept.send(Message::binary(vec![0, b'b'])).await.unwrap();
    assert_eq!(
        kept.next().await.unwrap().unwrap(),
        Message::binary(vec![1, b'b'])
    );
}

async fn next_text(socket: &mut WebSocketStream<TcpStream>) -> Value {
    match socket.next().await.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?} is no text"),
    }
}

#[tokio::test]
async fn a_stream_carries_both_directions() {
    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let mut socket = connect(&stage, &one).await;
    let start = json!({"command": ["cat"], "env": {}, "user": null, "tty": null});
    socket.send(Message::text(start.to_string())).await.unwrap();
    socket
        .send(Message::binary(b"\0hello".to_vec()))
        .await
        .unwrap();
    let said = socket.next().await.unwrap().unwrap();
    assert_eq!(said, Message::binary(b"\x01hello".to_vec()));
    let end = json!({"stdin_end": true});
    socket.send(Message::text(end.to_string())).await.unwrap();
    assert_eq!(next_text(&mut socket).await, json!({"exit": {"code": 0}}));

    for first in [
        json!({"command": []}),
        json!({"comand": ["cat"]}),
        json!({"command": ["nonesuch"]}),
    ] {
        let mut socket = connect(&stage, &one).await;
        socket.send(Message::text(first.to_string())).await.unwrap();
        let exit = next_text(&mut socket).await;
        assert!(exit["exit"]["error"].is_string(), "{exit}");
    }
    stage.get(&format!("{one}/exec/stream")).await.refused(400);
}
