use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::dns::{DnsError, Resolver};
use mayfly_runtime::{SystemEntropy, TaskSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// A server that gives `reply` to every datagram and, if the header says "truncated", `rest` over TCP.
async fn server(
    tasks: &TaskSet,
    flags: u16,
    reply: &'static [u8],
    rest: &'static [u8],
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tasks
        .spawn("udp", move |stop| async move {
            let mut buffer = [0; 512];
            let serve = async {
                while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                    // Somebody else's answer first: it must not be taken for ours.
                    let mut foreign = answered(&buffer[..length], flags, reply);
                    foreign[0] ^= 0xff;
                    socket.send_to(&foreign, peer).await.unwrap();
                    let ours = answered(&buffer[..length], flags, reply);
                    socket.send_to(&ours, peer).await.unwrap();
                }
            };
            tokio::select! { () = stop.cancelled() => {}, () = serve => {} }
        })
        .await;
    tasks
        .spawn("tcp", move |stop| async move {
            let serve = async {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let length = stream.read_u16().await.unwrap();
                    let mut asked = vec![0; usize::from(length)];
                    stream.read_exact(&mut asked).await.unwrap();
                    let whole = answered(&asked, 0x8180, rest);
                    let length = u16::try_from(whole.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&whole).await.unwrap();
                }
            };
            tokio::select! { () = stop.cancelled() => {}, () = serve => {} }
        })
        .await;
    address
}

/// An answer to `asked` with one raw record, or none.
fn answered(asked: &[u8], flags: u16, record: &[u8]) -> Vec<u8> {
    let mut message = asked[..2].to_vec();
    let count = u16::from(!record.is_empty());
    for word in [flags, 1, count, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    // Without the EDNS record of eleven bytes at its end.
    message.extend_from_slice(&asked[12..asked.len() - 11]);
    message.extend_from_slice(record);
    message
}

const ADDRESS: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(servers.to_vec(), Arc::new(SystemEntropy))
}

#[tokio::test]
async fn takes_its_own_answer_and_the_stream_when_the_datagram_is_cut() {
    let tasks = TaskSet::new();
    let plain = server(&tasks, 0x8180, ADDRESS, &[]).await;
    let cut = server(&tasks, 0x8380, &[], ADDRESS).await;
    for address in [plain, cut] {
        let found = resolver(&[address]).a("Example.test").await.unwrap();
        assert_eq!(found, [Ipv4Addr::new(192, 0, 2, 7)]);
    }
    tasks.shut_down(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn no_records_are_no_error_and_a_failure_is_passed_over() {
    let tasks = TaskSet::new();
    let nothing = server(&tasks, 0x8183, &[], &[]).await;
    let broken = server(&tasks, 0x8182, &[], &[]).await;
    assert_eq!(
        resolver(&[nothing]).txt("example.test").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        resolver(&[nothing]).cname("example.test").await.unwrap(),
        None
    );
    assert_eq!(
        resolver(&[broken, nothing])
            .soa("example.test")
            .await
            .unwrap(),
        None
    );
    let failed = resolver(&[broken]).aaaa("example.test").await.unwrap_err();
    assert!(
        matches!(failed, DnsError::Failed { code: 2, .. }),
        "{failed}"
    );
    assert_eq!(
        resolver(&[]).a("example.test").await,
        Err(DnsError::NoServers)
    );
    tasks.shut_down(Duration::from_secs(5)).await;
}
