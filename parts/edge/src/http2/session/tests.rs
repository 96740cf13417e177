use proptest::prelude::*;

use super::super::frame::{FrameHead, HEAD, NUMBER_MAX};
use super::super::inlet::Taken;
use super::*;

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;

fn session() -> Session {
    let mut session = Session::new(16 * 1024, Arc::default());
    assert_eq!(
        take(&mut session, kind::SETTINGS, 0, 0, &[]),
        Ok(Taken::Yes)
    );
    session
}

fn take(
    session: &mut Session,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) -> Result<Taken, Reason> {
    let head = FrameHead {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    session.take_frame(head, payload, &|| "bm9uY2U=".to_owned())
}

/// A request with a body to come, as [`HEADERS`] without `content-length`.
const POST: &[u8] = b"\x83\x87\x84\x41\x01w";
const POST_5: &[u8] = b"\x83\x87\x84\x41\x01w\x0f\x0d\x015";

/// The frames in the outbox, which is emptied: kind, flags, stream, payload.
fn said(session: &mut Session) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let bytes = session.outbox.take();
    let (mut rest, mut frames) = (&*bytes, Vec::new());
    while let Some((head, payload)) = FrameHead::split(rest).unwrap() {
        frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
        rest = &rest[HEAD + payload.len()..];
    }
    assert!(rest.is_empty(), "only whole frames are said");
    frames
}

/// The first reset among them.
fn reset(session: &mut Session) -> Option<(u32, Reason)> {
    let frames = said(session).into_iter();
    let mut resets = frames.filter(|(kind, ..)| *kind == kind::RST_STREAM);
    resets.next().map(|(_, _, stream, payload)| {
        (
            stream,
            Reason(u32::from_be_bytes(payload.try_into().unwrap())),
        )
    })
}

fn leave(session: &mut Session, place: usize) {
    let (inbound, _) = session.take_job(place).unwrap();
    session.leave(place, inbound, Reason::INTERNAL_ERROR);
}

#[test]
fn bodies_have_the_length_they_promise() {
    for (data, flags, wanted) in [
        (&b"12345"[..], END, None),
        (b"12345", 0, None),
        (b"1234", END, Some((1, Reason::PROTOCOL_ERROR))),
        (b"123456", 0, Some((1, Reason::PROTOCOL_ERROR))),
    ] {
        let mut session = session();
        take(&mut session, kind::HEADERS, WHOLE, 1, POST_5).unwrap();
        take(&mut session, kind::DATA, flags, 1, data).unwrap();
        assert_eq!(reset(&mut session), wanted, "{data:?}");
        leave(&mut session, 0);
        check(&session).unwrap();
        assert!(session.is_idle());
    }
}

#[test]
fn windows_are_given_back_when_bytes_are_used_up() {
    let mut session = session();
    take(&mut session, kind::HEADERS, WHOLE, 1, POST).unwrap();
    said(&mut session);
    let (mut piece, frame) = (Vec::new(), [7; PAYLOAD_MAX]);
    for _ in 0..STREAM_WINDOW as usize / PAYLOAD_MAX {
        take(&mut session, kind::DATA, 0, 1, &frame).unwrap();
    }
    assert_eq!(said(&mut session), [], "nothing is used up");
    assert!(matches!(
        session.poll_receive(0, &mut piece),
        Poll::Ready(Ok(false))
    ));
    assert_eq!(piece.len(), STREAM_WINDOW as usize + chunk::ROOM);
    assert_eq!(said(&mut session), [], "it is shown only");
    assert!(session.poll_receive(0, &mut piece).is_pending());
    let more = STREAM_WINDOW.to_be_bytes().to_vec();
    assert_eq!(said(&mut session), [(kind::WINDOW_UPDATE, 0, 1, more)]);
    for _ in 0..STREAM_WINDOW as usize / PAYLOAD_MAX {
        take(&mut session, kind::DATA, 0, 1, &frame).unwrap();
    }
    take(&mut session, kind::DATA, 0, 1, &[0]).unwrap();
    assert_eq!(reset(&mut session), Some((1, Reason::FLOW_CONTROL_ERROR)));
    leave(&mut session, 0);
    check(&session).unwrap();
    // What is thrown away counts for the connection.
    assert_eq!(session.receive_window, i64::from(CONNECTION_WINDOW));
}

#[test]
fn answers_keep_to_the_windows_of_stream_and_connection() {
    let mut session = session();
    let narrow = [&[0, 4][..], &10_u32.to_be_bytes()].concat();
    take(&mut session, kind::SETTINGS, 0, 0, &narrow).unwrap();
    take(&mut session, kind::HEADERS, WHOLE | END, 1, POST).unwrap();
    said(&mut session);
    let body = [9; 40];
    let mut left = &body[..];
    session.send_head(0, 200, |_| {});
    assert!(session.poll_send(0, &mut left).is_pending());
    assert_eq!(left.len(), 30);
    take(
        &mut session,
        kind::WINDOW_UPDATE,
        0,
        1,
        &5_u32.to_be_bytes(),
    )
    .unwrap();
    assert!(session.poll_send(0, &mut left).is_pending());
    // A window that is made smaller may become less than nothing.
    let none = [&[0, 4][..], &[0; 4]].concat();
    take(&mut session, kind::SETTINGS, 0, 0, &none).unwrap();
    take(
        &mut session,
        kind::WINDOW_UPDATE,
        0,
        1,
        &10_u32.to_be_bytes(),
    )
    .unwrap();
    assert!(session.poll_send(0, &mut left).is_pending());
    assert_eq!(left.len(), 25);
    take(
        &mut session,
        kind::WINDOW_UPDATE,
        0,
        1,
        &90_u32.to_be_bytes(),
    )
    .unwrap();
    assert!(session.poll_send(0, &mut left).is_ready());
    session.send_end(0, &[]).unwrap();
    let data: Vec<_> = said(&mut session)
        .into_iter()
        .filter(|(kind, ..)| *kind == kind::DATA)
        .map(|(_, flags, _, payload)| (payload.len(), flags))
        .collect();
    assert_eq!(data, [(10, 0), (5, 0), (25, END)]);
    assert_eq!(session.send_window, i64::from(WINDOW) - 40);
    let much = NUMBER_MAX.to_be_bytes();
    assert_eq!(
        take(&mut session, kind::WINDOW_UPDATE, 0, 0, &much),
        Err(Reason::FLOW_CONTROL_ERROR)
    );
}

#[test]
fn streams_wait_for_room_and_are_called_when_there_is() {
    let mut session = session();
    let wide = [&[0, 4][..], &NUMBER_MAX.to_be_bytes()].concat();
    take(&mut session, kind::SETTINGS, 0, 0, &wide).unwrap();
    take(
        &mut session,
        kind::WINDOW_UPDATE,
        0,
        0,
        &(1_u32 << 30).to_be_bytes(),
    )
    .unwrap();
    take(&mut session, kind::HEADERS, WHOLE | END, 1, POST).unwrap();
    let body = vec![1; 1 << 20];
    let mut left = &body[..];
    assert!(session.poll_send(0, &mut left).is_pending());
    assert!(session.outbox.is_full() && left.len() > body.len() - 100_000);
    session.call_waiting();
    assert_eq!(session.waiting, 1, "there is no room yet");
    said(&mut session);
    session.call_waiting();
    assert_eq!(session.waiting, 0);
}

#[test]
fn more_streams_than_allowed_are_refused_and_places_are_waited_for() {
    let mut session = session();
    let all = STREAMS_MAX as u32;
    for id in 0..all {
        take(&mut session, kind::HEADERS, WHOLE, id * 2 + 1, POST).unwrap();
    }
    take(&mut session, kind::HEADERS, WHOLE, all * 2 + 1, POST).unwrap();
    assert_eq!(
        reset(&mut session),
        Some((all * 2 + 1, Reason::REFUSED_STREAM))
    );
    take(&mut session, kind::RST_STREAM, 0, 5, &[0; 4]).unwrap();
    let next = take(&mut session, kind::HEADERS, WHOLE, all * 2 + 3, POST);
    assert_eq!(next, Ok(Taken::NotYet), "who serves 5 has not left");
    leave(&mut session, 2);
    let next = take(&mut session, kind::HEADERS, WHOLE, all * 2 + 3, POST);
    assert_eq!((next, session.streams[2].id), (Ok(Taken::Yes), all * 2 + 3));
}

#[test]
fn a_goodbye_is_said_twice() {
    let mut session = session();
    take(&mut session, kind::HEADERS, WHOLE | END, 1, POST).unwrap();
    said(&mut session);
    session.say_goodbye();
    session.say_goodbye();
    let all = [NUMBER_MAX.to_be_bytes(), [0; 4]].concat();
    assert_eq!(
        said(&mut session),
        [
            (kind::GOAWAY, 0, 0, all),
            (kind::PING, 0, 0, FAREWELL.to_vec())
        ]
    );
    // Sent before the client knew.
    take(&mut session, kind::HEADERS, WHOLE | END, 3, POST).unwrap();
    assert_eq!(session.open, 2);
    take(&mut session, kind::PING, flag::ACK, 0, &FAREWELL).unwrap();
    let last = [3_u32.to_be_bytes(), [0; 4]].concat();
    assert_eq!(said(&mut session), [(kind::GOAWAY, 0, 0, last)]);
    take(&mut session, kind::HEADERS, WHOLE | END, 5, POST).unwrap();
    take(&mut session, kind::DATA, END, 5, b"late").unwrap();
    assert_eq!((session.open, said(&mut session)), (2, vec![]));
    for place in 0..2 {
        session.send_end(place, &[]).unwrap();
        assert!(!session.has_ended());
        leave(&mut session, place);
    }
    said(&mut session);
    assert!(session.has_ended());
}

#[test]
fn blocks_that_do_not_end_are_too_much() {
    let mut session = session();
    take(&mut session, kind::HEADERS, 0, 1, POST).unwrap();
    assert_eq!(
        take(&mut session, kind::PING, 0, 0, &[0; 8]),
        Err(Reason::PROTOCOL_ERROR)
    );
    for (piece, least, most) in [(&[][..], 16, 64), (&[0; PAYLOAD_MAX], 2, 8)] {
        let mut session = self::session();
        take(&mut session, kind::HEADERS, 0, 1, POST).unwrap();
        let taken = (0..).find(|_| take(&mut session, kind::CONTINUATION, 0, 1, piece).is_err());
        assert!((least..most).contains(&taken.unwrap()), "{taken:?}");
    }
}

#[test]
fn who_makes_us_reset_streams_is_a_burden_too() {
    let mut session = session();
    for id in (1..2_000).step_by(2) {
        take(&mut session, kind::HEADERS, WHOLE, id, POST).unwrap();
        take(&mut session, kind::WINDOW_UPDATE, 0, id, &[0; 4]).unwrap();
        leave(&mut session, 0);
        said(&mut session);
        if session.is_burden() {
            return;
        }
    }
    panic!("1,000 streams were reset");
}

/// What must be true whatever a client sends.
fn check(session: &Session) -> Result<(), TestCaseError> {
    let streams = || session.streams.iter();
    prop_assert_eq!(
        session.open,
        streams().filter(|stream| stream.id != 0).count()
    );
    let unused: usize = streams().map(Stream::unused).sum();
    let counted = session.receive_window + i64::from(session.owed) + unused as i64;
    prop_assert_eq!(counted, i64::from(CONNECTION_WINDOW));
    for stream in streams() {
        prop_assert!(stream.unused() <= STREAM_WINDOW as usize);
        prop_assert!(stream.id <= session.last_id);
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Frame(u8, u8, u32, Vec<u8>),
    Read(usize),
    Answer(usize, usize),
    End(usize),
    Drain,
    Goodbye,
}

fn steps() -> impl Strategy<Value = Step> {
    let block = prop::sample::select(vec![
        POST,
        POST_5,
        b"\x82\x87\x84\x41\x01w",
        b"\x83\x87\x84",
        b"\x00\x01x\x01y",
        b"\xff",
    ]);
    let payload = prop_oneof![
        block.prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(vec![0; 4]),
        Just(vec![0, 4, 0, 0, 0, 50]),
        Just(vec![1; PAYLOAD_MAX]),
    ];
    let frame = |kinds: std::ops::Range<u8>| {
        let flags = prop::sample::select(vec![0, END, WHOLE, WHOLE | END, flag::PADDED, 0x24]);
        (kinds, flags, 0_u32..14, payload.clone())
            .prop_map(|(kind, flags, stream, payload)| Step::Frame(kind, flags, stream, payload))
    };
    prop_oneof![
        3 => frame(0..2),
        2 => frame(0..11),
        1 => (0_usize..4).prop_map(Step::Read),
        1 => (0_usize..4, 0_usize..50_000).prop_map(|(place, length)| Step::Answer(place, length)),
        1 => (0_usize..4).prop_map(Step::End),
        1 => Just(Step::Drain),
        1 => Just(Step::Goodbye),
    ]
}

proptest! {
    /// Whatever frames come while streams do what they do, nothing is lost count of, and what is said are frames.
    #[test]
    fn any_frames_are_read_or_refused(steps in prop::collection::vec(steps(), 0..60)) {
        let mut session = session();
        let mut jobs: [Option<Job>; STREAMS_MAX] = [const { None }; STREAMS_MAX];
        let mut pieces = vec![Vec::new(); STREAMS_MAX];
        for step in steps {
            match step {
                Step::Frame(kind, flags, stream, payload) => {
                    let payload = &payload[..payload.len().min(PAYLOAD_MAX)];
                    if take(&mut session, kind, flags, stream, payload).is_err() {
                        break;
                    }
                }
                Step::Read(place) if place < session.streams.len() => {
                    let _ = session.poll_receive(place, &mut pieces[place]);
                }
                Step::Answer(place, length) if jobs[place].is_some() => {
                    let body = vec![0; length];
                    session.send_head(place, 200, |put| put(b"X-Test", b"1"));
                    let _ = session.poll_send(place, &mut &*body);
                }
                Step::End(place) if jobs[place].is_some() => {
                    let _ = session.send_end(place, b"");
                    let (inbound, _) = jobs[place].take().unwrap();
                    session.leave(place, inbound, Reason::INTERNAL_ERROR);
                }
                Step::Drain => {
                    said(&mut session);
                    session.call_waiting();
                }
                Step::Goodbye => session.say_goodbye(),
                _ => {}
            }
            for (place, job) in jobs.iter_mut().enumerate() {
                if let Some(new) = session.take_job(place) {
                    prop_assert!(job.replace(new).is_none());
                }
            }
            check(&session)?;
        }
        said(&mut session);
    }
}
