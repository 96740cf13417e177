use proptest::prelude::*;

use super::decoder::Broken;
use super::table::Table;
use super::*;

type Fields = Vec<(String, String)>;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn decode(decoder: &mut Decoder<usize>, block: &[u8]) -> Result<Fields, Broken> {
    let mut fields = Fields::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value, tag| {
        assert_eq!(tag, name.len() + value.len(), "a tag belongs to its field");
        fields.push((text(name), text(value)));
    })?;
    Ok(fields)
}

fn decoder() -> Decoder<usize> {
    Decoder::new(|name, value| name.len() + value.len())
}

fn pairs(fields: &[(&str, &str)]) -> Fields {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

/// RFC 7541, C.2: single fields.
#[test]
fn single_fields_of_the_rfc() {
    for (block, name, value) in [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            "custom-key",
            "custom-header",
        ),
        ("040c2f73616d706c652f70617468", ":path", "/sample/path"),
        ("100870617373776f726406736563726574", "password", "secret"),
        ("82", ":method", "GET"),
    ] {
        assert_eq!(
            decode(&mut decoder(), &bytes(block)),
            Ok(pairs(&[(name, value)]))
        );
    }
}

/// RFC 7541, C.3 and C.4: three requests on a connection, plain and coded.
#[test]
fn requests_of_the_rfc() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let coded = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    let first = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ];
    let second = [&first[..], &[("cache-control", "no-cache")]].concat();
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    for blocks in [plain, coded] {
        let mut decoder = decoder();
        for (block, wanted) in blocks.iter().zip([&first[..], &second, &third]) {
            assert_eq!(decode(&mut decoder, &bytes(block)), Ok(pairs(wanted)));
        }
    }
}

/// RFC 7541, C.5 and C.6: three answers with a table of 256 bytes, which pushes fields out.
#[test]
fn answers_of_the_rfc() {
    let size = "3fe101";
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let coded = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    let answer = |status| {
        vec![
            (":status", status),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ]
    };
    let third = vec![
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ];
    for blocks in [plain, coded] {
        let mut decoder = decoder();
        assert_eq!(decode(&mut decoder, &bytes(size)), Ok(Vec::new()));
        for (block, wanted) in blocks.iter().zip([&answer("302"), &answer("307"), &third]) {
            assert_eq!(decode(&mut decoder, &bytes(block)), Ok(pairs(wanted)));
        }
    }
}

#[test]
fn what_is_no_block_is_broken() {
    for block in [
        "80",                     // index 0
        "be",                     // an index beyond both tables
        "ff80808080808080808001", // a number without end
        "7f",                     // a number that is cut off
        "400a6375",               // a string that is cut off
        "3fe21f",                 // a larger table than we keep
        "8220",                   // a size behind a field
        "00817f01780178",         // coded: more than seven bits of padding follow
        "0081ff0178",             // coded: eight bits of padding
        "008118",                 // coded: padding of zeros, and no value
        "0084ffffffff00",         // coded: the end of string
    ] {
        assert_eq!(
            decode(&mut decoder(), &bytes(block)),
            Err(Broken),
            "{block}"
        );
    }
}

#[test]
fn numbers_of_the_rfc() {
    for (number, prefix, wanted) in [
        (10, 5, &[0x0a][..]),
        (1337, 5, &[0x1f, 0x9a, 0x0a]),
        (42, 8, &[0x2a]),
    ] {
        let mut out = Vec::new();
        integer::write(&mut out, 0, prefix, number);
        assert_eq!(out, wanted);
        let mut read = wanted;
        assert_eq!(integer::read(&mut read, prefix), Ok(number));
        assert!(read.is_empty());
    }
}

#[test]
fn a_table_keeps_the_newest_that_fit() {
    let mut table = Table::new(200);
    for number in 0..1_000_u32 {
        let value = number.to_string();
        assert_eq!(
            table.insert(b"name", value.as_bytes(), number),
            Some(number)
        );
        let (name, newest, tag) = table.get(0).unwrap();
        assert_eq!(
            (name, newest, tag),
            (&b"name"[..], value.as_bytes(), number)
        );
        assert_eq!(table.place(number), Some(0));
    }
    let kept = (0..)
        .take_while(|place| table.get(*place).is_some())
        .count();
    assert_eq!(kept, 200 / (4 + 3 + 32));
    assert_eq!((table.place(990), table.place(1_000)), (None, None));
    assert_eq!(table.get(kept - 1).unwrap().2, 1_000 - kept as u32);
    table.resize(0);
    assert!(table.get(0).is_none());
    assert_eq!(table.insert(b"a", b"b", 0), None);
}

#[test]
fn what_repeats_is_said_once_and_what_changes_is_not_remembered() {
    let mut encoder = Encoder::new();
    let mut decoder = decoder();
    let mut lengths = Vec::new();
    for request in 0..100 {
        let id = format!("01M8G592CTVE54845N6TK1KC6T-{request:03}");
        let fields = [
            ("Server", "mayfly"),
            ("Fly-Request-Id", &id),
            ("X-Empty", ""),
            ("Content-Type", "text/plain"),
        ];
        let mut out = Vec::new();
        encoder.begin(Some(200), &mut out);
        for (name, value) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        lengths.push(out.len());
        let mut wanted = pairs(&[(":status", "200")]);
        wanted.extend(
            pairs(&fields)
                .into_iter()
                .map(|(name, value)| (name.to_lowercase(), value)),
        );
        assert_eq!(decode(&mut decoder, &out), Ok(wanted));
    }
    assert!(lengths[0] > 70 && lengths[99] < 40, "{lengths:?}");
}

fn answer_field() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        "[A-Za-z][a-z-]{0,8}",
        prop::sample::select(vec![
            "Content-Type",
            "date",
            "SERVER",
            "Set-Cookie",
            "x-a",
            "x-b"
        ])
        .prop_map(str::to_owned),
    ];
    let long = (900_usize..1100).prop_map(|length| "z".repeat(length));
    let value = prop_oneof!["[a-c]{0,2}".boxed(), "[ -~]{0,20}".boxed(), long.boxed()];
    (name, value)
}

proptest! {
    /// Whatever is said, in whatever sizes of table, is heard as it was said.
    #[test]
    fn what_is_said_is_heard(
        blocks in prop::collection::vec((100_u16..600, prop::collection::vec(answer_field(), 0..8), prop::option::of(0_usize..6000)), 1..12),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), decoder());
        for (status, fields, resized) in blocks {
            if let Some(size) = resized {
                encoder.resize(4096);
                encoder.resize(size);
            }
            let mut out = Vec::new();
            encoder.begin(Some(status), &mut out);
            let mut wanted = vec![(":status".to_owned(), status.to_string())];
            for (name, value) in fields {
                encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
                wanted.push((name.to_lowercase(), value));
            }
            prop_assert_eq!(decode(&mut decoder, &out), Ok(wanted));
        }
    }

    #[test]
    fn any_blocks_are_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..6)) {
        let mut decoder = decoder();
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
        }
    }

    /// Strings of the RFC's kind with some bytes changed.
    #[test]
    fn almost_coded_strings_are_read_or_refused(
        mut coded in prop::sample::select(vec!["f1e3c2e5f23a6ba0ab90f4ff", "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"]).prop_map(bytes),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (place, byte) in edits {
            let place = place.index(coded.len());
            coded[place] = byte;
        }
        let mut out = Vec::new();
        if huffman::decode(&coded, &mut out).is_ok() {
            prop_assert!(out.len() <= coded.len() * 8 / 5);
        }
    }

    #[test]
    fn numbers_are_read_as_they_were_written(number in 0_usize..1 << 28, prefix in 1_u32..8, rest in any::<u8>()) {
        let mut out = Vec::new();
        integer::write(&mut out, 0, prefix, number);
        out.push(rest);
        let mut read = &*out;
        prop_assert_eq!(integer::read(&mut read, prefix), Ok(number));
        prop_assert_eq!(read, &[rest][..]);
    }
}
