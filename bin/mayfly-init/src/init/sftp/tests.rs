use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

/// A request with its fields, as a client sends it.
struct Request(Vec<u8>);

impl Request {
    fn of(kind: u8) -> Self {
        Request(vec![kind]).u32(7)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn text(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut longer = self.u32(u32::try_from(text.len()).unwrap());
        longer.0.extend(text);
        longer
    }

    fn path(self, path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        self.text(path.as_os_str().as_bytes())
    }
}

fn ask(server: &mut Server, request: Request) -> Vec<u8> {
    server.answer(&request.0).unwrap().framed()[4..].to_vec()
}

/// The code of a status.
fn status(answer: &[u8]) -> u32 {
    assert_eq!(answer[0], 101, "{answer:?} is no status");
    u32::from_be_bytes(answer[5..9].try_into().unwrap())
}

fn open(server: &mut Server, path: &Path, flags: u32, mode: u32) -> Vec<u8> {
    let request = Request::of(OPEN).path(path).u32(flags).u32(4).u32(mode);
    let answer = ask(server, request);
    assert_eq!(answer[0], 102, "{answer:?} is no handle");
    answer[9..].to_vec()
}

#[test]
fn files_are_written_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut server = Server::default();
    let handle = open(&mut server, &path, FLAG_WRITE | FLAG_CREATE, 0o640);
    let write = Request::of(WRITE).text(&handle).u64(3).text("abc");
    assert_eq!(status(&ask(&mut server, write)), 0);
    assert_eq!(
        status(&ask(&mut server, Request::of(CLOSE).text(&handle))),
        0
    );
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0abc");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    let handle = open(&mut server, &path, FLAG_READ, 0);
    let read = |offset| Request::of(READ).text(&handle).u64(offset).u32(100);
    let data = ask(&mut server, read(4));
    assert_eq!((data[0], &data[9..]), (103, &b"bc"[..]));
    assert_eq!(status(&ask(&mut server, read(6))), 1, "the end of the file");
}

#[test]
fn what_cannot_be_done_is_said_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let none = folder.path().join("none");
    for (request, code) in [
        (Request::of(STAT).path(&none), 2),
        (Request::of(OPENDIR).path(&none), 2),
        (Request::of(READ).text("xxxx").u64(0).u32(1), 4),
        (Request::of(CLOSE).text("xxxx"), 4),
        (Request::of(STAT).u32(100), 5),
        (Request::of(99), 8),
        (Request::of(EXTENDED).text("unknown@example.com"), 8),
    ] {
        assert_eq!(status(&ask(&mut server, request)), code);
    }
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fs::write(&one, "1").unwrap();
    fs::write(&other, "2").unwrap();
    let rename = Request::of(RENAME).path(&one).path(&other);
    assert_eq!(status(&ask(&mut server, rename)), 4, "the other stays");
    let rename = Request::of(EXTENDED)
        .text("posix-rename@openssh.com")
        .path(&one)
        .path(&other);
    assert_eq!(status(&ask(&mut server, rename)), 0);
    assert_eq!(fs::read(&other).unwrap(), b"1");
}

#[test]
fn directories_are_made_read_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let path = folder.path().join("inner");
    let make = Request::of(MKDIR).path(&path).u32(4).u32(0o750);
    assert_eq!(status(&ask(&mut server, make)), 0);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    for number in 0..250 {
        fs::write(path.join(number.to_string()), "").unwrap();
    }
    let answer = ask(&mut server, Request::of(OPENDIR).path(&path));
    let handle = answer[9..].to_vec();
    let mut count = 0;
    loop {
        let answer = ask(&mut server, Request::of(READDIR).text(&handle));
        if answer[0] == 101 {
            assert_eq!(status(&answer), 1, "the end of the directory");
            break;
        }
        count += u32::from_be_bytes(answer[5..9].try_into().unwrap());
    }
    assert_eq!(count, 252, "with the two dots");
    let remove = Request::of(RMDIR).path(&path);
    assert_eq!(status(&ask(&mut server, remove)), 4, "it is not empty");
    let dotted = path.join("../inner/./0");
    let answer = ask(&mut server, Request::of(REALPATH).path(&dotted));
    let name = String::from_utf8_lossy(&answer).into_owned();
    assert!(name.contains("inner/0"), "{name}");
}

#[test]
fn nonsense_ends_the_conversation() {
    for input in [&[0, 0, 0, 0][..], &[255, 255, 255, 255], &[0, 0, 0, 1, 3]] {
        assert!(converse(&mut &*input, &mut Vec::new()).is_err());
    }
    assert!(converse(&mut &[][..], &mut Vec::new()).is_ok());
    let mut said = Vec::new();
    converse(&mut &[0, 0, 0, 5, INIT, 0, 0, 0, 6][..], &mut said).unwrap();
    assert_eq!(said[4..9], [2, 0, 0, 0, 3]);
}
