//! A connection of the machine on a channel (`ssh -L`, `ssh -W`).

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use mayfly_host_api::Connection;

use super::{Input, Peer, Taken};
use crate::guest::Guest;
use crate::sign_in::SignedIn;
use crate::window::ReceiveWindow;

const PIECE: usize = 32 << 10;

/// Where a client wants to be connected to.
pub(crate) struct Forward {
    pub(crate) host: String,
    pub(crate) port: u32,
}

impl Forward {
    /// False if the channel was never opened.
    pub(crate) async fn run(
        self,
        guest: &dyn Guest,
        signed_in: &SignedIn,
        peer: &Peer,
        inputs: mpsc::UnboundedReceiver<Input>,
        received: &ReceiveWindow,
    ) -> bool {
        let Ok(port @ 1..) = u16::try_from(self.port) else {
            peer.refuse("the port is not from 1 to 65535").await;
            return false;
        };
        let connection = match guest.connect(&self.host, port).await {
            Ok(connection) => connection,
            Err(error) => {
                peer.refuse(&error.to_string()).await;
                return false;
            }
        };
        let SignedIn { user, certificate } = signed_in;
        guest.session_began(certificate, user, "forward").await;
        peer.confirm().await;
        let (reader, writer) = tokio::io::split(connection);
        let (ended, heard_end) = oneshot::channel();
        let both_ended = async {
            outward(reader, peer).await;
            // Fails when the client is gone, which ends this too.
            let _ = heard_end.await;
        };
        tokio::select! {
            () = inward(inputs, writer, Taken::of(peer, received), ended) => {}
            () = both_ended => {}
        }
        peer.send_close().await;
        true
    }
}

/// Returns when the client has closed the channel or the connection takes no more.
async fn inward(
    mut inputs: mpsc::UnboundedReceiver<Input>,
    mut writer: WriteHalf<Connection>,
    mut taken: Taken<'_>,
    ended: oneshot::Sender<()>,
) {
    let mut ended = Some(ended);
    while let Some(input) = inputs.recv().await {
        let done = match input {
            Input::Data(data) => {
                let written = writer.write_all(&data).await;
                taken.add(data.len()).await;
                written
            }
            Input::End => {
                let done = writer.shutdown().await;
                ended.take().map(|ended| ended.send(()));
                done
            }
            Input::Resize(_) | Input::Signal(_) => Ok(()),
        };
        if done.is_err() {
            return;
        }
    }
}

async fn outward(mut reader: ReadHalf<Connection>, peer: &Peer) {
    let mut buffer = vec![0; PIECE];
    loop {
        // A connection that broke has no more to say.
        match reader.read(&mut buffer).await.unwrap_or(0) {
            0 => return peer.eof().await,
            length => peer.data(&buffer[..length]).await,
        }
    }
}
