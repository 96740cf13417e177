use std::io;
use std::sync::Arc;
use std::time::Duration;

use mayfly_fleet_api::Call;
use mayfly_net::{Acceptor, Listener};
use mayfly_runtime::{Stop, TaskSet, report};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::carry::carry_answers;
use crate::link::Link;

const DRAIN: Duration = Duration::from_secs(2);
/// How long whoever is turned away may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);

/// All who come to the registry and the API speak HTTP.
const AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
                    content-length: 57\r\nconnection: close\r\n\r\n\
                    {\"error\":\"the control plane is not reachable at present\"}";

/// A socket of this server that leads to the registry or the API on the server with the control plane.
pub struct Passage<L: Listener> {
    pub listener: L,
    pub control: Link,
    /// What is asked of the other server for a connection with this mark.
    pub call: fn(L::Mark) -> Call,
    /// Connections of this passage at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Places that several passages have together, for connections that were accepted.
    pub places: Arc<Semaphore>,
}

impl<L: Listener> Passage<L> {
    /// Leads connections on until told to stop.
    pub async fn run(self, stop: Stop) {
        let connections = TaskSet::under(&stop);
        let acceptor = Acceptor::new(self.listener, self.connections_max);
        while let Some((stream, mark, place)) = acceptor.next(&stop).await {
            let (control, call) = (self.control.clone(), (self.call)(mark));
            let places = self.places.clone();
            connections
                .spawn_guarded("fleet.passage", move |stop| async move {
                    let _place = place;
                    let led = async {
                        let shared = places.acquire().await;
                        let _shared = shared.expect("the semaphore is never closed");
                        lead(&control, &call, stream).await
                    };
                    if let Some(Err(error)) = stop.run_until_cancelled(led).await {
                        debug!(
                            error = report(&error),
                            "connection to the control plane ended"
                        );
                    }
                })
                .await;
        }
        connections.shut_down(DRAIN).await;
    }
}

async fn lead<S>(control: &Link, call: &Call, mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match control.stream(call).await {
        Ok(line) => carry_answers(line, stream).await,
        Err(error) => {
            let goodbye = async {
                stream.write_all(AWAY.as_bytes()).await?;
                stream.shutdown().await?;
                // Closed with something unread, a socket takes back what was not read on the other side.
                let mut rest = [0; 4096];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            timeout(GOODBYE, goodbye).await.ok();
            Err(io::Error::other(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AWAY;

    #[test]
    fn the_answer_says_its_length() {
        let (head, body) = AWAY.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
