use super::*;
use crate::key::PresharedKey;

const NOW: Timestamp = Timestamp::from_millis(10_000_000);

fn wanted(number: u8, ranges: &[&str]) -> PeerConfig {
    PeerConfig {
        public_key: PeerKey::from_bytes([number; 32]),
        preshared_key: None,
        endpoint: None,
        allowed_ips: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        keepalive: None,
    }
}

fn present(number: u8, ranges: &[&str]) -> PresentPeer {
    PresentPeer {
        allowed_ips: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        ..PresentPeer::new(PeerKey::from_bytes([number; 32]))
    }
}

fn changes(wanted: &[PeerConfig], present: &[PresentPeer]) -> Vec<Change> {
    let asked = wanted.iter().map(|peer| (peer.public_key, peer.endpoint));
    plan(wanted, present, &asked.collect(), NOW)
}

fn only_set(changes: &[Change]) -> &PeerChange {
    match changes {
        [Change::Set(change)] => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_as_wanted_is_left_alone() {
    let peers = [wanted(1, &["fdaa::/120"]), wanted(2, &["fdab::/120"])];
    let there = [present(2, &["fdab::/120"]), present(1, &["fdaa::/120"])];
    assert_eq!(changes(&peers, &there), []);
}

#[test]
fn who_goes_goes_first() {
    let all = changes(&[wanted(1, &[])], &[present(2, &[]), present(3, &[])]);
    let key = |number| PeerKey::from_bytes([number; 32]);
    assert_eq!(all[..2], [Change::Remove(key(2)), Change::Remove(key(3))]);
    assert!(
        matches!(&all[2..], [Change::Set(new)] if new.public_key == key(1) && !new.only_if_present)
    );
}

#[test]
fn more_ranges_are_added_and_fewer_replace_all() {
    let peer = [wanted(1, &["fdaa::/120", "fdab::/120"])];
    let all = changes(&peer, &[present(1, &["fdaa::/120"])]);
    let change = only_set(&all);
    assert!(!change.replaces_ranges && change.only_if_present);
    assert_eq!(change.allowed_ips, wanted(1, &["fdab::/120"]).allowed_ips);

    let all = changes(&peer, &[present(1, &["fdaa::/120", "fdac::/120"])]);
    let change = only_set(&all);
    assert!(change.replaces_ranges);
    assert_eq!(change.allowed_ips, peer[0].allowed_ips);

    let all = changes(&[wanted(1, &[])], &[present(1, &["fdaa::/120"])]);
    assert!(only_set(&all).replaces_ranges, "none is a change as well");
}

#[test]
fn a_range_that_two_name_belongs_to_the_later_one_and_stays_there() {
    let peers = [wanted(1, &["fdaa::/120"]), wanted(2, &["fdaa::/120"])];
    assert_eq!(
        changes(&peers, &[present(1, &[]), present(2, &["fdaa::/120"])]),
        []
    );
}

#[test]
fn another_preshared_key_ends_the_session() {
    let mut peer = wanted(1, &[]);
    peer.preshared_key = Some(PresharedKey::from_bytes([7; 32]));
    let all = changes(&[peer.clone()], &[present(1, &[])]);
    assert!(
        matches!(&all[..], [Change::Remove(_), Change::Set(new)] if new.preshared_key == Some([7; 32]))
    );
    let mut there = present(1, &[]);
    there.preshared_key = [7; 32];
    assert_eq!(changes(&[peer], &[there]), []);
}

#[test]
fn a_peer_stays_where_it_was_heard_until_it_is_wanted_elsewhere() {
    let place = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let mut peer = wanted(1, &[]);
    peer.endpoint = place("192.0.2.1:1");
    let mut there = present(1, &[]);
    there.endpoint = place("192.0.2.9:9");
    let roamed = std::slice::from_ref(&there);
    assert_eq!(changes(std::slice::from_ref(&peer), roamed), []);

    let before = BTreeMap::from([(peer.public_key, place("192.0.2.8:8"))]);
    let all = plan(std::slice::from_ref(&peer), roamed, &before, NOW);
    assert_eq!(only_set(&all).endpoint, peer.endpoint);

    // Of an earlier process: a living session knows better than we do.
    let shaken = |seconds| PresentPeer {
        last_handshake: Some(NOW - Duration::from_secs(seconds)),
        ..there.clone()
    };
    let found = |there: PresentPeer| plan(&[peer.clone()], &[there], &BTreeMap::new(), NOW);
    assert_eq!(found(shaken(179)), []);
    let all = found(shaken(181));
    assert_eq!(only_set(&all).endpoint, peer.endpoint);
    assert_eq!(only_set(&found(there.clone())).endpoint, peer.endpoint);
}

#[test]
fn keepalives_are_whole_seconds() {
    for (period, seconds) in [
        (1, 1),
        (999, 1),
        (1000, 1),
        (1001, 2),
        (90_000_000, u16::MAX),
    ] {
        let mut peer = wanted(1, &[]);
        peer.keepalive = Some(Duration::from_millis(period));
        let all = changes(std::slice::from_ref(&peer), &[present(1, &[])]);
        assert_eq!(only_set(&all).keepalive_seconds, Some(seconds), "{period}");
    }
    let mut there = present(1, &[]);
    there.keepalive_seconds = 5;
    assert_eq!(
        only_set(&changes(&[wanted(1, &[])], &[there])).keepalive_seconds,
        Some(0)
    );
}
