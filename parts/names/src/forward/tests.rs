use super::*;

/// An answer with the records given as type, time to live and data.
fn message(flags: u8, records: &[(u16, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![
        0,
        9,
        0x81,
        0x80 | flags,
        0,
        1,
        0,
        records.len() as u8,
        0,
        0,
        0,
        0,
    ];
    bytes.extend(b"\x01a\x00\x00\x1c\x00\x01");
    for (kind, ttl, data) in records {
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

#[test]
fn an_answer_lives_as_long_as_its_shortest_record() {
    let address: &[u8] = &[0; 16];
    let opt = (TYPE_OPT, 0, &[][..]);
    assert_eq!(
        life(&message(0, &[(28, 300, address), (28, 60, address), opt])),
        Some(60)
    );
    let mut authority = vec![0, 0];
    authority.extend([0; 16]);
    authority.extend(30u32.to_be_bytes());
    assert_eq!(life(&message(3, &[(TYPE_SOA, 900, &authority)])), Some(30));
    assert_eq!(life(&message(2, &[])), Some(FAILURE_REMEMBERED));
    assert_eq!(
        life(&message(0, &[(28, 300, address)])[..30]),
        None,
        "cut off"
    );
}

#[test]
fn times_to_live_run_down() {
    let mut answer = message(0, &[(28, 300, &[0; 16])]);
    age_by(&mut answer, 100);
    assert_eq!(records(&answer).unwrap()[0].ttl, 200);
    age_by(&mut answer, 1000);
    assert_eq!(records(&answer).unwrap()[0].ttl, 0);
}
