use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use mayfly_host_api::CatalogEntry;
use mayfly_machine::MachineState;
use mayfly_types::{InstanceId, NetworkId, OrgId, Timestamp};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stage::{Stage, sleeper};

const OURS: &str = "fdaa:0:1:a:b:1:0:2";
const THEIRS: &str = "fdaa:0:2:a:b:2:0:2";

/// A stage whose host has a machine of the stage's organization and one of another.
async fn stage() -> Stage {
    let stage = Stage::set().await;
    let (_, machine) = stage.machine(sleeper()).await;
    let id = machine["id"].as_str().unwrap().parse().unwrap();
    let machine = stage.store.machine(id).await.unwrap();
    let entry = |org_id: OrgId, address: &str| {
        Arc::new(CatalogEntry {
            machine_id: machine.id,
            instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
            app_id: machine.app_id,
            app_name: machine.app_name.clone(),
            org_id,
            network: NetworkId(1),
            host_id: stage.host.id,
            region: machine.region.clone(),
            private_ip: address.parse::<Ipv6Addr>().unwrap(),
            ipv4: Ipv4Addr::LOCALHOST,
            state: MachineState::Started,
            cordoned: false,
            services: Vec::new(),
            statics: Vec::new(),
            metadata: Default::default(),
            in_dns: true,
            primary_region: None,
            checks: Vec::new(),
        })
    };
    let stranger = OrgId::from_random([7; 16]);
    let catalog = vec![entry(machine.org_id, OURS), entry(stranger, THEIRS)];
    stage.host.publish(catalog);
    stage
}

async fn connect(stage: &Stage, query: &str) -> Result<WebSocketStream<TcpStream>, u16> {
    let url = format!("ws://{}/v1/orgs/personal/connect?{query}", stage.address);
    let mut request = url.into_client_request().unwrap();
    let bearer = format!("Bearer {}", stage.token).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let stream = TcpStream::connect(stage.address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_way_ends_on_its_own() {
    let stage = stage().await;
    let dashed = OURS.replace(':', "-");
    for to in [
        format!("[{OURS}]:80"),
        format!("{dashed}.internal:80"),
        format!("{dashed}.internal:80&app=stage"),
    ] {
        let mut socket = connect(&stage, &format!("to={to}")).await.unwrap();
        let sent = vec![7u8; 300_000];
        socket.send(Message::binary(sent.clone())).await.unwrap();
        socket.send(Message::binary(Vec::new())).await.unwrap();
        let mut heard = Vec::new();
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Binary(bytes) if bytes.is_empty() => break,
                Message::Binary(bytes) => heard.extend_from_slice(&bytes),
                other => panic!("{other:?} is not of the connection"),
            }
        }
        assert_eq!(heard.len(), sent.len(), "{to}");
        assert!(
            matches!(socket.next().await, Some(Ok(Message::Close(_))) | None),
            "both ways have ended"
        );
    }
}

#[tokio::test]
async fn nothing_but_the_organization_s_own_is_reached() {
    let stage = stage().await;
    for (query, status) in [
        (format!("to=[{THEIRS}]:80"), 404),
        ("to=[fdaa:0:1::3]:53".to_owned(), 404),
        ("to=[::1]:22".to_owned(), 404),
        ("to=127.0.0.1:22".to_owned(), 404),
        ("to=localhost:22".to_owned(), 404),
        ("to=none.internal:80".to_owned(), 404),
        (format!("to=[{OURS}]:80&app=other"), 404),
        (format!("to=[{OURS}]:80&network=other"), 404),
        (format!("to=[{OURS}]"), 400),
        (format!("to=[{OURS}]:0"), 400),
        ("to=:80".to_owned(), 400),
        ("port=80".to_owned(), 400),
    ] {
        let refused = connect(&stage, &query).await.map(drop);
        assert_eq!(refused, Err(status), "{query}");
    }
    stage.host.fail("connect", true);
    let refused = connect(&stage, &format!("to=[{OURS}]:80")).await.map(drop);
    assert_eq!(refused, Err(503));
}

#[tokio::test]
async fn echoes_are_timed() {
    let stage = stage().await;
    let path = |to: &str| format!("/v1/orgs/personal/ping?to={to}");
    let answer = stage.post(&path(OURS), json!({})).await.expect(200);
    assert_eq!(answer, json!({ "address": OURS, "rtt_us": 1500 }));
    stage.post(&path(THEIRS), json!({})).await.refused(404);
    stage.host.fail("ping", true);
    stage.post(&path(OURS), json!({})).await.refused(503);
}
