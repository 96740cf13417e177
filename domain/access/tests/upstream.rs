//! Tokens made by upstream's own library (github.com/superfly/macaroon 0.3.0) with the keys below.

use mayfly_access::{
    Caveat, InvalidMacaroon, Macaroon, caveats_from_json, caveats_to_json, discharge,
    tickets_without,
};
use serde_json::Value;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const SHARED_KEY: &[u8; 32] = b"fedcba9876543210fedcba9876543210";

fn upstream() -> Value {
    serde_json::from_str(include_str!("upstream.json")).expect("the vectors are JSON")
}

fn token(text: &Value) -> Macaroon {
    let text = text.as_str().expect("a token is a text");
    text.parse().expect("upstream's tokens can be read")
}

#[test]
fn tokens_are_read_verified_and_written_byte_for_byte() {
    for case in upstream()["tokens"].as_array().expect("a list") {
        let (name, theirs) = (&case["name"], token(&case["token"]));
        let verified = theirs.verify(KEY, &[]).expect("the signature is right");
        assert_eq!(
            caveats_to_json(&verified.caveats),
            case["caveats"],
            "{name}"
        );
        assert_eq!(theirs.text(), case["token"].as_str().unwrap(), "{name}");

        let mut ours = Macaroon::new(theirs.nonce.clone(), &theirs.location, KEY);
        for caveat in caveats_from_json(&case["caveats"]).expect("upstream's JSON is read") {
            ours.add(caveat).unwrap();
        }
        // `*` is more bits than there are letters, so JSON cannot carry it.
        if name != "star" {
            assert_eq!(ours.text(), theirs.text(), "{name}");
        }
        assert_eq!(
            theirs.verify(b"another key", &[]),
            Err(InvalidMacaroon::Signature),
            "{name}"
        );
    }
}

#[test]
fn a_third_party_is_asked_by_its_discharge() {
    let vectors = upstream();
    let asking = token(&vectors["third_party"]["token"]);
    let theirs = token(&vectors["third_party"]["discharge"]);
    let verified = asking.verify(KEY, std::slice::from_ref(&theirs)).unwrap();
    assert_eq!(
        verified.caveats,
        [Caveat::ValidityWindow {
            not_before: 1,
            not_after: 2
        }]
    );
    let missing = InvalidMacaroon::NotDischarged("https://auth.example".to_owned());
    assert_eq!(asking.verify(KEY, &[]), Err(missing));
    assert_eq!(tickets_without(&asking, &[theirs]).count(), 0);

    let ticket = &tickets_without(&asking, &[]).next().unwrap().ticket;
    let (conditions, ours) =
        discharge(SHARED_KEY, "https://auth.example", ticket, [7; 16]).unwrap();
    assert_eq!(
        conditions,
        caveats_from_json(&serde_json::json!([{"type": "Action", "body": "r"}])).unwrap()
    );
    assert!(asking.verify(KEY, std::slice::from_ref(&ours)).is_ok());
    let mut narrowed = ours;
    assert_eq!(
        narrowed.add(Caveat::IsMember),
        Err(InvalidMacaroon::Finished)
    );
    assert!(discharge(b"another key of thirty-two bytes.", "x", ticket, [7; 16]).is_err());
}

#[test]
fn a_discharge_bound_to_one_token_serves_no_other() {
    let vectors = upstream();
    let theirs = token(&vectors["third_party"]["discharge"]);
    let asking = token(&vectors["third_party"]["token"]);
    // Of the same making, but narrowed before it depended on anybody: another signature under the same ticket.
    let mut narrowed = asking.clone();
    narrowed.add(Caveat::IsMember).unwrap();
    assert!(narrowed.verify(KEY, std::slice::from_ref(&theirs)).is_ok());
    let Some(Caveat::ThirdParty(third_party)) = asking.unverified_caveats().next() else {
        panic!("the token depends on a third party");
    };
    let mut other = Macaroon::new(asking.nonce.clone(), "elsewhere", KEY);
    other.add(Caveat::IsMember).unwrap();
    other.add(Caveat::ThirdParty(third_party.clone())).unwrap();
    assert_eq!(
        other.verify(KEY, &[theirs]),
        Err(InvalidMacaroon::Signature),
        "the discharge's key is sealed with the signature before it"
    );
}
