use proptest::prelude::*;

use super::*;

const NAME: &[u8] = b"\x03WEB\x08internal\x00";

fn query(kind: u16, additional: &[u8], count: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0x1234, RD, 1, 0, 0, count] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(NAME);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(CLASS_IN.to_be_bytes());
    bytes.extend(additional);
    bytes
}

const OPT_4096: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];

fn counts(message: &[u8]) -> [u16; 4] {
    [4, 6, 8, 10].map(|at| u16::from_be_bytes([message[at], message[at + 1]]))
}

#[test]
fn a_question_is_read_without_regard_to_case() {
    let bytes = query(TYPE_AAAA, &[], 0);
    let query = Query::parse(&bytes).unwrap();
    assert_eq!(query.name, "web.internal");
    assert_eq!((query.id, query.kind, query.payload()), (0x1234, 28, 512));
    assert!(query.wants_recursion() && query.is_internet());
    // The answer repeats the name as it was asked: some clients check its spelling.
    let message = answer(&query, Rcode::NoSuchName, &Content::Nothing, None, 5, 512);
    assert_eq!(&message[HEADER..HEADER + NAME.len()], NAME);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let good = query(TYPE_AAAA, &[], 0);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let rcode = |bytes: &[u8]| match Query::parse(bytes) {
        Err(Unreadable::Refuse { rcode, .. }) => Some(rcode),
        Err(Unreadable::Ignore) => None,
        Ok(query) => panic!("{query:?}"),
    };
    assert_eq!(rcode(&good[..11]), None, "shorter than a header");
    assert_eq!(rcode(&with(2, 0x80)), None, "an answer");
    assert_eq!(
        rcode(&with(2, 0x28)),
        Some(Rcode::NotImplemented),
        "an update"
    );
    assert_eq!(
        rcode(&with(5, 2)),
        Some(Rcode::FormatError),
        "two questions"
    );
    assert_eq!(
        rcode(&with(12, 0xc0)),
        Some(Rcode::FormatError),
        "a pointer"
    );
    assert_eq!(rcode(&good[..20]), Some(Rcode::FormatError), "cut off");
    let twice = [OPT_4096, OPT_4096].concat();
    assert_eq!(
        rcode(&query(TYPE_AAAA, &twice, 2)),
        Some(Rcode::FormatError),
        "EDNS twice"
    );
}

#[test]
fn odd_bytes_of_a_label_cannot_pass_for_a_dot() {
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(b"\x05a.b\x00c\x00\x00\x1c\x00\x01");
    assert_eq!(Query::parse(&bytes).unwrap().name, "a\\046b\\000c");
}

#[test]
fn addresses_that_do_not_fit_are_cut_and_said_so() {
    let addresses: Vec<Ipv6Addr> = (0..100u128).map(Ipv6Addr::from_bits).collect();
    let content = Content::Addresses(addresses);
    let zone = Authority { zone: "internal" };
    let bytes = query(TYPE_AAAA, OPT_4096, 1);
    let query = Query::parse(&bytes).unwrap();
    let by_udp = answer(
        &query,
        Rcode::NoError,
        &content,
        Some(&zone),
        5,
        query.payload(),
    );
    assert!(by_udp.len() <= 1232 && by_udp[2] & 2 != 0);
    assert_eq!(counts(&by_udp), [1, 42, 0, 1]);
    let by_tcp = answer(&query, Rcode::NoError, &content, Some(&zone), 5, 65_535);
    assert!(
        by_tcp[2] & 2 == 0 && by_tcp[2] & 4 != 0,
        "whole, authoritative"
    );
    assert_eq!(counts(&by_tcp), [1, 100, 0, 1]);
}

#[test]
fn nothing_comes_with_the_zones_authority() {
    let bytes = query(TYPE_AAAA, &[], 0);
    let query = Query::parse(&bytes).unwrap();
    let zone = Authority { zone: "internal" };
    let message = answer(
        &query,
        Rcode::NoError,
        &Content::Nothing,
        Some(&zone),
        5,
        512,
    );
    assert_eq!(counts(&message), [1, 0, 1, 0]);
    let record = Record::read(&message, HEADER + query.question.len()).unwrap();
    assert_eq!(
        (record.kind, record.ttl, record.end),
        (TYPE_SOA, 5, message.len())
    );
    assert_eq!(message[record.end - 4..], 5u32.to_be_bytes());
}

#[test]
fn an_unknown_version_of_edns_is_named() {
    let bytes = query(TYPE_AAAA, &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0], 1);
    let query = Query::parse(&bytes).unwrap();
    assert!(query.has_bad_version());
    let message = answer(&query, Rcode::NoError, &Content::Nothing, None, 5, 512);
    let record = Record::read(&message, HEADER + query.question.len()).unwrap();
    assert_eq!(
        record.ttl >> 24,
        1,
        "BADVERS is 16: 1 here, 0 in the header"
    );
}

#[test]
fn long_texts_are_split_into_strings() {
    assert_eq!(strings(""), [0]);
    let data = strings(&"x".repeat(600));
    assert_eq!((data[0], data[256], data[512]), (255, 255, 90));
    assert_eq!(data.len(), 603);
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(query) = Query::parse(&bytes) {
            let _ = answer(&query, Rcode::NoError, &Content::Nothing, None, 5, query.payload());
        }
        let _ = Record::read(&bytes, 0);
    }

    #[test]
    fn an_answer_never_exceeds_its_limit(count in 0usize..80, limit in 512usize..1232) {
        let bytes = query(TYPE_AAAA, OPT_4096, 1);
        let query = Query::parse(&bytes).unwrap();
        let content = Content::Addresses(vec![Ipv6Addr::LOCALHOST; count]);
        let message = answer(&query, Rcode::NoError, &content, None, 5, limit);
        prop_assert!(message.len() <= limit);
        let written = usize::from(counts(&message)[1]);
        prop_assert_eq!(written < count, message[2] & 2 != 0);
    }
}
