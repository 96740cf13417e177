//! Moving bytes between two sockets without bringing them into this process (splice(2)), once they come in bulk.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What is copied at once. A read that fills it announces more, for which a pipe pays.
const READ_BYTES: usize = 16 * 1024;
/// What a pipe holds, unless somebody has changed the kernel's default.
const PIPE_BYTES: usize = 64 * 1024;
/// Empty pipes a thread keeps.
const SPARE_PIPES: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// What one attempt to copy came to.
enum Copied {
    Nothing,
    End,
    /// All of it, or but for what the other side did not take at once.
    Some {
        left: Vec<u8>,
        filled: bool,
    },
}

/// Passes bytes both ways until both sides have ended or one breaks. The end of one direction is passed on and leaves
/// the other alone. Holds no memory while nothing moves.
///
/// # Errors
/// The first error of either side; both connections are to be dropped then.
pub(crate) async fn relay(one: &mut TcpStream, other: &mut TcpStream) -> io::Result<()> {
    let (mut one_reader, mut one_writer) = one.split();
    let (mut other_reader, mut other_writer) = other.split();
    tokio::try_join!(
        pass(&mut one_reader, &mut other_writer),
        pass(&mut other_reader, &mut one_writer)
    )
    .map(drop)
}

async fn pass(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        let more = match copy(from, to)? {
            Copied::Nothing => false,
            Copied::End => return to.shutdown().await,
            Copied::Some { left, filled } => {
                if !left.is_empty() {
                    to.write_all(&left).await?;
                }
                filled
            }
        };
        if more && splice_while_bulky(from.as_ref(), to.as_ref()).await? {
            return to.shutdown().await;
        }
    }
}

fn copy(from: &ReadHalf<'_>, to: &WriteHalf<'_>) -> io::Result<Copied> {
    SCRATCH.with_borrow_mut(|scratch| {
        let count = match from.try_read(scratch) {
            Ok(0) => return Ok(Copied::End),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Copied::Nothing),
            Err(error) => return Err(error),
        };
        let taken = match to.try_write(&scratch[..count]) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        Ok(Copied::Some {
            left: scratch[taken..count].to_vec(),
            filled: count == READ_BYTES,
        })
    })
}

/// Whether `from` has ended; otherwise it has nothing more at the moment.
async fn splice_while_bulky(from: &TcpStream, to: &TcpStream) -> io::Result<bool> {
    let pipe = Pipe::take()?;
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let moved = from.try_io(Interest::READABLE, || {
            Ok(splice(from, None, &pipe.writer, None, PIPE_BYTES, flags)?)
        });
        let mut left = match moved {
            Ok(0) => {
                pipe.give_back();
                return Ok(true);
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipe.give_back();
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        // Dropped in between, the pipe takes what it holds with it: the connection is lost anyway.
        while left > 0 {
            left -= to
                .async_io(Interest::WRITABLE, || {
                    Ok(splice(&pipe.reader, None, to, None, left, flags)?)
                })
                .await?;
        }
    }
}

impl Pipe {
    fn take() -> io::Result<Pipe> {
        if let Some(pipe) = PIPES.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Pipe { reader, writer })
    }

    /// Only when empty.
    fn give_back(self) {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.len() < SPARE_PIPES {
                pipes.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, accepted) = tokio::join!(near, listener.accept());
        (near.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn bulk_goes_both_ways_and_each_end_is_passed_on() {
        let (client, mut client_side) = pair().await;
        let (mut machine_side, machine) = pair().await;
        let size = 5_000_000;
        let bytes: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
        let talk = |mut stream: TcpStream, bytes: Vec<u8>| async move {
            let (mut reader, mut writer) = stream.split();
            let mut got = Vec::new();
            let send = async {
                writer.write_all(b"hello").await.unwrap();
                tokio::task::yield_now().await;
                writer.write_all(&bytes).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(send, reader.read_to_end(&mut got));
            read.unwrap();
            got
        };
        let relayed = relay(&mut client_side, &mut machine_side);
        let all = async {
            let relayed = async {
                relayed.await.unwrap();
            };
            tokio::join!(
                talk(client, bytes.clone()),
                talk(machine, bytes.clone()),
                relayed
            )
        };
        let (at_client, at_machine, ()) = timeout(Duration::from_secs(20), all).await.unwrap();
        let expected = [&b"hello"[..], &bytes].concat();
        assert!(at_client == expected && at_machine == expected);
    }

    #[tokio::test]
    async fn an_answer_may_follow_the_end_of_the_question() {
        let (mut client, mut client_side) = pair().await;
        let (mut machine_side, mut machine) = pair().await;
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            machine.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "question");
            machine.write_all(b"answer").await.unwrap();
            drop(machine);
            text.clear();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "answer");
        };
        let both = async { tokio::join!(relay(&mut client_side, &mut machine_side), talk) };
        timeout(Duration::from_secs(20), both)
            .await
            .unwrap()
            .0
            .unwrap();
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_writer_back() {
        let (client, mut client_side) = pair().await;
        let (mut machine_side, machine) = pair().await;
        let flood = async {
            let piece = vec![1; 1 << 20];
            let mut sent = 0_usize;
            // Buffers of four sockets and a pipe fill up, and then nothing more is taken.
            loop {
                let written = timeout(Duration::from_millis(300), client.writable()).await;
                if written.is_err() {
                    return sent;
                }
                if let Ok(count) = client.try_write(&piece) {
                    sent += count;
                }
                assert!(sent < 200 << 20, "nothing holds the writer back");
            }
        };
        tokio::select! {
            ended = relay(&mut client_side, &mut machine_side) => panic!("{ended:?}"),
            sent = flood => assert!(sent > 0),
        }
        drop(machine);
    }
}
