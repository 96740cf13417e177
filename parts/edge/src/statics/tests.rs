use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;

use super::condition::{Conditions, Representation, Send, decide};
use super::layers::{Found, find};
use super::*;
use crate::http::{AnswerSource, Form, RequestHead, ResponseHead};

fn mapping(guest_path: &str, url_prefix: &str) -> StaticSpec {
    StaticSpec {
        guest_path: guest_path.to_owned(),
        url_prefix: url_prefix.to_owned(),
        bucket: None,
        index_document: None,
    }
}

fn wanted(path: &str) -> Option<String> {
    let mut bucket = mapping("/keys", "/bucket");
    bucket.bucket = Some("b".to_owned());
    let statics = [
        mapping("/app/public/", "/static"),
        mapping("/other", "/static/deep/"),
        bucket,
    ];
    let found = Wanted::by(&statics, "GET", path);
    found.map(|wanted| wanted.path.join("/"))
}

#[test]
fn the_longest_prefix_of_whole_segments_says_which_file() {
    for (path, expected) in [
        ("/static/a.css", Some("app/public/a.css")),
        ("/static//x/./a.css", Some("app/public/x/a.css")),
        ("/static/deep/b", Some("other/b")),
        ("/static/deeper/b", Some("app/public/deeper/b")),
        ("/static/a%20b.css", Some("app/public/a b.css")),
        ("/static", Some("app/public")),
        ("/statica", None),
        ("/", None),
        ("/static/../etc/passwd", None),
        ("/static/%2e%2e/etc/passwd", None),
        ("/static/a%2fb", None),
        ("/static/a%00", None),
        ("/static/%", None),
        ("/static/%ff", None),
    ] {
        assert_eq!(wanted(path).as_deref(), expected, "{path}");
    }
    let statics = [mapping("/a", "/a")];
    assert_eq!(Wanted::by(&statics, "POST", "/a/x"), None);
    let mut bucket = mapping("/a", "/b");
    bucket.bucket = Some("assets".to_owned());
    let wanted = Wanted::by(&[bucket], "GET", "/b/x").unwrap();
    assert_eq!(wanted.bucket.as_deref(), Some("assets"));
    assert_eq!(wanted.path, ["a", "x"]);
}

/// A fresh directory that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path =
            std::env::temp_dir().join(format!("mayfly-statics-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn look(layers: &[&Path], path: &str) -> String {
    let layers: Vec<PathBuf> = layers.iter().map(|path| path.to_path_buf()).collect();
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    match find(&layers, &path).unwrap() {
        Found::File(found) => std::io::read_to_string(found.file).unwrap(),
        Found::Directory => "(directory)".to_owned(),
        Found::Nothing => "(nothing)".to_owned(),
    }
}

#[test]
fn layers_show_what_overlayfs_would_show() {
    let scratch = Scratch::new("layers");
    scratch.write("low/d/a", "low a");
    scratch.write("low/d/b", "low b");
    scratch.write("low/file/x", "low x");
    scratch.write("top/d/a", "top a");
    scratch.write("top/file", "a file hides a directory");
    scratch.write("secret", "outside");
    symlink("a", scratch.0.join("top/d/link")).unwrap();
    symlink("../../secret", scratch.0.join("top/d/out")).unwrap();
    symlink("d", scratch.0.join("top/dlink")).unwrap();
    let (top, low) = (scratch.0.join("top"), scratch.0.join("low"));
    let layers = [top.as_path(), low.as_path()];
    for (path, expected) in [
        ("d/a", "top a"),
        ("d/b", "low b"),
        ("d", "(directory)"),
        ("file", "a file hides a directory"),
        ("file/x", "(nothing)"),
        ("d/link", "(nothing)"),
        ("d/out", "(nothing)"),
        ("dlink/a", "(nothing)"),
        ("d/none", "(nothing)"),
    ] {
        assert_eq!(look(&layers, path), expected, "{path}");
    }
    assert_eq!(look(&layers, &"x".repeat(300)), "(nothing)");
    // Device nodes and trusted attributes need root; the suite that does without it stops here.
    let device = rustix::fs::mknodat(
        rustix::fs::CWD,
        top.join("d/b"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    );
    if device.is_ok() {
        assert_eq!(look(&layers, "d/b"), "(nothing)");
        fs::remove_file(top.join("d/b")).unwrap();
    }
    let directory = fs::File::open(top.join("d")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::fsetxattr(&directory, "trusted.overlay.opaque", b"y", flags).is_ok() {
        assert_eq!(look(&layers, "d/b"), "(nothing)");
        assert_eq!(look(&layers, "d/a"), "top a");
    }
}

#[test]
fn conditions_and_ranges_follow_the_standard() {
    let file = Representation {
        etag: "\"e\"".to_owned(),
        modified: 784_111_777,
        length: 10,
    };
    let date = b"Sun, 06 Nov 1994 08:49:37 GMT".as_slice();
    let before = b"Sun, 06 Nov 1994 08:49:36 GMT".as_slice();
    let none = Conditions::default();
    let part = |first, last| Send::Part { first, last };
    let range = |text: &'static str| Conditions {
        range: Some(text.as_bytes()),
        ..none
    };
    for (conditions, expected) in [
        (none, Send::Whole),
        (
            Conditions {
                if_none_match: Some(b"\"x\", W/\"e\""),
                ..none
            },
            Send::NotModified,
        ),
        (
            Conditions {
                if_none_match: Some(b"*"),
                ..none
            },
            Send::NotModified,
        ),
        (
            Conditions {
                if_none_match: Some(b"\"x\""),
                if_modified_since: Some(date),
                ..none
            },
            Send::Whole,
        ),
        (
            Conditions {
                if_modified_since: Some(date),
                ..none
            },
            Send::NotModified,
        ),
        (
            Conditions {
                if_modified_since: Some(before),
                ..none
            },
            Send::Whole,
        ),
        (
            Conditions {
                if_modified_since: Some(b"yesterday"),
                ..none
            },
            Send::Whole,
        ),
        (
            Conditions {
                if_match: Some(b"\"x\""),
                ..none
            },
            Send::PreconditionFailed,
        ),
        (
            Conditions {
                if_match: Some(b"W/\"e\""),
                ..none
            },
            Send::PreconditionFailed,
        ),
        (
            Conditions {
                if_match: Some(b"\"e\""),
                ..none
            },
            Send::Whole,
        ),
        (
            Conditions {
                if_unmodified_since: Some(before),
                ..none
            },
            Send::PreconditionFailed,
        ),
        (range("bytes=0-0"), part(0, 0)),
        (range("bytes=2-"), part(2, 9)),
        (range("bytes=-3"), part(7, 9)),
        (range("bytes=-30"), part(0, 9)),
        (range("bytes=5-99999999999999999999"), part(5, 9)),
        (range("bytes=10-"), Send::RangeNotSatisfiable),
        (range("bytes=-0"), Send::RangeNotSatisfiable),
        (range("bytes=3-2"), Send::Whole),
        (range("bytes=0-1,3-4"), Send::Whole),
        (range("lines=0-1"), Send::Whole),
        (
            Conditions {
                if_range: Some(b"\"e\""),
                ..range("bytes=0-1")
            },
            part(0, 1),
        ),
        (
            Conditions {
                if_range: Some(date),
                ..range("bytes=0-1")
            },
            part(0, 1),
        ),
        (
            Conditions {
                if_range: Some(b"W/\"e\""),
                ..range("bytes=0-1")
            },
            Send::Whole,
        ),
    ] {
        assert_eq!(decide(conditions, &file), expected, "{conditions:?}");
    }
    assert_eq!(date::parse(date), Some(784_111_777));
    assert_eq!(date::format(784_111_777).unwrap().as_bytes(), date);
}

async fn get(
    layer: &Path,
    spec: &StaticSpec,
    method: &str,
    path: &str,
    lines: &str,
) -> Option<(String, Vec<u8>)> {
    let mut request = RequestHead::default();
    let text = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    request.read(text.as_bytes()).unwrap();
    let wanted = Wanted::by(std::slice::from_ref(spec), method, request.path())?;
    let mut answer = serve(wanted, vec![layer.to_owned()], &request)
        .await
        .unwrap()?;
    let mut head = ResponseHead::default();
    answer.head(method, &mut head).await.unwrap();
    let mut body = Vec::new();
    let piece = answer.buffered(Form::AsIs).unwrap();
    body.extend_from_slice(piece.data);
    let mut last = piece.last;
    while !last {
        let piece = answer.next(Form::AsIs).await.unwrap();
        body.extend_from_slice(piece.data);
        last = piece.last;
    }
    Some((String::from_utf8(answer.head.clone()).unwrap(), body))
}

#[tokio::test]
async fn files_come_whole_in_part_or_not_at_all() {
    let scratch = Scratch::new("answers");
    let large: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    scratch.write("public/large.txt", &large);
    scratch.write("public/index.html", "<p>hi");
    scratch.write("public/empty.css", "");
    let mut spec = mapping("/public", "/s");
    spec.index_document = Some("index.html".to_owned());
    let (head, body) = get(&scratch.0, &spec, "GET", "/s/large.txt?v=1", "")
        .await
        .unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("text/plain"),
        "{head}"
    );
    assert_eq!(body, large.as_bytes());
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "))
        .unwrap();
    let (same, nothing) = get(
        &scratch.0,
        &spec,
        "GET",
        "/s/large.txt",
        &format!("If-None-Match: {etag}\r\n"),
    )
    .await
    .unwrap();
    assert!(
        same.starts_with("HTTP/1.1 304") && nothing.is_empty(),
        "{same}"
    );
    let (part, bytes) = get(
        &scratch.0,
        &spec,
        "GET",
        "/s/large.txt",
        "Range: bytes=300000-300009\r\n",
    )
    .await
    .unwrap();
    assert!(
        part.starts_with("HTTP/1.1 206")
            && part.contains(&format!(
                "Content-Range: bytes 300000-300009/{}",
                large.len()
            )),
        "{part}"
    );
    assert_eq!(bytes, &large.as_bytes()[300_000..300_010]);
    let (head, nothing) = get(
        &scratch.0,
        &spec,
        "HEAD",
        "/s/large.txt",
        "Range: bytes=0-1\r\n",
    )
    .await
    .unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200")
            && head.contains(&format!("Content-Length: {}", large.len())),
        "{head}"
    );
    assert!(nothing.is_empty());
    let (index, body) = get(&scratch.0, &spec, "GET", "/s/", "").await.unwrap();
    assert!(index.contains("text/html") && body == b"<p>hi", "{index}");
    assert!(get(&scratch.0, &spec, "GET", "/s/none", "").await.is_none());
    let (empty, body) = get(&scratch.0, &spec, "GET", "/s/empty.css", "")
        .await
        .unwrap();
    assert!(
        empty.contains("Content-Length: 0") && body.is_empty(),
        "{empty}"
    );
    spec.index_document = None;
    assert!(get(&scratch.0, &spec, "GET", "/s/", "").await.is_none());
}

proptest! {
    #[test]
    fn no_path_leads_out(path in "(/|%2e|%2f|\\.|a|%|\\\\|%00){0,20}") {
        let statics = [mapping("/g", "/")];
        if let Some(wanted) = Wanted::by(&statics, "GET", &format!("/{path}")) {
            prop_assert!(wanted.path.iter().all(|part| part != ".." && !part.contains(['/', '\0'])), "{wanted:?}");
        }
    }

    #[test]
    fn no_range_is_out_of_the_file(range in "bytes=[0-9]{0,22}-[0-9]{0,22}", length in 0_u64..1000) {
        let file = Representation { etag: "\"e\"".to_owned(), modified: 0, length };
        let conditions = Conditions { range: Some(range.as_bytes()), ..Conditions::default() };
        if let Send::Part { first, last } = decide(conditions, &file) {
            prop_assert!(first <= last && last < length);
        }
    }
}
