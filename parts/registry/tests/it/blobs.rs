use std::io::{Read, Write};
use std::net::TcpStream;

use mayfly_testing::{Answer, Method, wait_until};

use crate::desk::{Desk, HOSTS, digest};

fn begin(desk: &Desk) -> String {
    let answer = desk.ann(Method::Post, "/v2/web/blobs/uploads/");
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.header("location").unwrap().to_owned()
}

fn append(desk: &Desk, upload: &str, range: &str, bytes: &[u8]) -> Answer {
    desk.ask(
        "ann",
        Method::Patch,
        upload,
        &[("content-range", range)],
        bytes,
    )
}

#[test]
fn chunks_come_in_order_and_go_on_after_a_restart() {
    let desk = Desk::open();
    let upload = begin(&desk);
    assert_eq!(append(&desk, &upload, "0-3", b"abcd").status, 202);
    for (range, status) in [("6-7", 416), ("0-3", 416), ("4-9", 400), ("nonsense", 400)] {
        let refused = append(&desk, &upload, range, b"ef");
        assert_eq!(refused.status, status, "{range}: {}", refused.text());
    }
    let desk = desk.restart();
    let found = desk.ann(Method::Get, &upload);
    assert_eq!((found.status, found.header("range")), (204, Some("0-3")));
    assert_eq!(append(&desk, &upload, "4-5", b"ef").status, 202);
    let wanted = digest(b"abcdefgh");
    let ended = desk.ask(
        "ann",
        Method::Put,
        &format!("{upload}?digest={wanted}"),
        &[],
        b"gh",
    );
    assert_eq!(ended.status, 201, "{}", ended.text());

    let blob = format!("/v2/web/blobs/{wanted}");
    assert_eq!(desk.ann(Method::Get, &blob).text(), "abcdefgh");
    let part = desk.ask("ann", Method::Get, &blob, &[("range", "bytes=2-4")], b"");
    assert_eq!((part.status, part.text().as_str()), (206, "cde"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/8"));
    let beyond = desk.ask("ann", Method::Get, &blob, &[("range", "bytes=8-")], b"");
    assert_eq!(beyond.status, 416);
    let head = desk.ann(Method::Head, &blob);
    assert_eq!(head.header("content-length"), Some("8"));
    assert_eq!(desk.ann(Method::Get, &upload).status, 404);
}

#[test]
fn content_that_is_not_what_was_stated_is_not_kept() {
    let desk = Desk::open();
    let stated = digest(b"stated");
    let path = format!("/v2/web/blobs/uploads/?digest={stated}");
    let answer = desk.ask("ann", Method::Post, &path, &[], b"another");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["errors"][0]["code"], "DIGEST_INVALID");
    for directory in ["blobs", "uploads"] {
        let left = std::fs::read_dir(desk.directory().join(directory)).unwrap();
        assert_eq!(left.count(), 0, "{directory}");
    }
    let given_up = begin(&desk);
    assert_eq!(desk.ann(Method::Delete, &given_up).status, 204);
    assert_eq!(append(&desk, &given_up, "0-0", b"a").status, 404);
}

#[test]
fn a_connection_that_breaks_off_leaves_what_has_come() {
    let desk = Desk::open();
    let upload = begin(&desk);
    let mut stream = TcpStream::connect(desk.address).unwrap();
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ann\r\ncontent-length: 1000\r\n\r\nfirst"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let known = || desk.ann(Method::Get, &upload);
    wait_until("the upload is being written", || known().status == 409);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    wait_until("what has come counts", || {
        known().header("range") == Some("0-4")
    });
    let wanted = digest(b"first and last");
    let path = format!("{upload}?digest={wanted}");
    assert_eq!(
        desk.ask("ann", Method::Put, &path, &[], b" and last")
            .status,
        201
    );
}

#[test]
fn nobody_reads_what_is_not_theirs() {
    let desk = Desk::open();
    let secret = desk.push_blob("bob", "shop", b"bob's layer");
    desk.push_blob("ann", "web", b"ann's layer");
    let theirs = format!("/v2/shop/blobs/{secret}");
    let foreign = desk.ann(Method::Get, &theirs);
    assert_eq!(foreign.status, 404);
    assert_eq!(foreign.json()["errors"][0]["code"], "NAME_UNKNOWN");
    // Knowing the digest does not help, neither in one's own repository nor by mounting.
    let own = format!("/v2/web/blobs/{secret}");
    assert_eq!(desk.ann(Method::Get, &own).status, 404);
    let mount = format!("/v2/web/blobs/uploads/?mount={secret}&from=shop");
    assert_eq!(desk.ann(Method::Post, &mount).status, 202);
    assert_eq!(desk.ann(Method::Get, &own).status, 404);
    // Hosts read everything and change nothing.
    assert_eq!(desk.ask(HOSTS, Method::Get, &theirs, &[], b"").status, 200);
    assert_eq!(
        desk.ask(HOSTS, Method::Delete, &theirs, &[], b"").status,
        403
    );
    let stranger = desk.ask("eve", Method::Get, "/v2/", &[], b"");
    assert_eq!(stranger.status, 401);
    let challenge = stranger.header("www-authenticate");
    assert_eq!(challenge, Some("Basic realm=\"mayfly\""));
    assert_eq!(desk.ann(Method::Get, "/v2/").status, 200);
}

#[test]
fn a_blob_is_mounted_from_another_repository_of_the_holder() {
    let desk = Desk::open();
    let blob = desk.push_blob("ann", "web/base", b"shared");
    let mount = format!("/v2/web/blobs/uploads/?mount={blob}&from=web/base");
    let mounted = desk.ann(Method::Post, &mount);
    assert_eq!(mounted.status, 201, "{}", mounted.text());
    let here = format!("/v2/web/blobs/{blob}");
    assert_eq!(desk.ann(Method::Get, &here).text(), "shared");
    assert_eq!(desk.ann(Method::Delete, &here).status, 202);
    assert_eq!(desk.ann(Method::Get, &here).status, 404);
    let there = format!("/v2/web/base/blobs/{blob}");
    assert_eq!(desk.ann(Method::Get, &there).status, 200);
}
