use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// The archive's entries: path, kind, mode, size or target.
fn entries(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entry = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let target = entry.link_name().unwrap();
        let what = match target {
            Some(target) => format!("-> {}", target.display()),
            None => header.size().unwrap().to_string(),
        };
        format!("{path} {:o} {what}", header.mode().unwrap())
    };
    archive.entries().unwrap().map(entry).collect()
}

fn packed(root: &Path, rules: &str) -> (Vec<String>, Summary) {
    let mut archive = Vec::new();
    let rules = ContextRules::read(rules).unwrap();
    let summary = pack(root, &rules, &mut archive).unwrap();
    (entries(&archive), summary)
}

fn file(root: &Path, path: &str, content: &[u8], mode: u32) {
    let place = root.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, content).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn links_modes_and_long_names_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    file(root, "run.sh", b"#!", 0o755);
    file(root, "read-only", b"abc", 0o444);
    file(root, &long, b"", 0o600);
    symlink("/etc/passwd", root.join("outside")).unwrap();
    symlink("x".repeat(150), root.join("far")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let (entries, summary) = packed(root, "");
    let dir = "d".repeat(120);
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
    let wanted = [
        format!("{dir} {:o} 0", mode(&dir)),
        format!("{long} 600 0"),
        format!("empty {:o} 0", mode("empty")),
        format!("far 777 -> {}", "x".repeat(150)),
        "outside 777 -> /etc/passwd".to_owned(),
        "read-only 444 3".to_owned(),
        "run.sh 755 2".to_owned(),
    ];
    assert_eq!(entries, wanted);
    assert_eq!((summary.files, summary.bytes), (5, 5));
}

#[test]
fn what_is_taken_back_in_brings_its_directories() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for path in [
        "a/b/keep",
        "a/b/drop",
        "a/drop",
        "c/drop",
        ".env",
        "src/main.rs",
    ] {
        file(root, path, b"x", 0o644);
    }
    let names = |rules: &str| {
        let (entries, _) = packed(root, rules);
        let name = |entry: &String| entry.split(' ').next().unwrap().to_owned();
        entries.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("*\n!a/b/keep"), "a a/b a/b/keep");
    assert_eq!(names("**/drop\n.env"), "a a/b a/b/keep c src src/main.rs");
    assert_eq!(names("*\n!src"), "src src/main.rs");
    let (_, summary) = packed(root, "");
    assert_eq!(summary.doubtful, [".env"]);
}

#[test]
fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, b"12345").unwrap();
    let read = |left| {
        let mut text = String::new();
        let file = File::open(&path).unwrap();
        Exactly { file, left }
            .read_to_string(&mut text)
            .map(|_| text)
    };
    assert_eq!(read(3).unwrap(), "123");
    assert!(read(6).is_err());
}

/// A sparse file of 9 GiB goes through a reader that takes it piece by piece: no more than the queue is ever held.
#[tokio::test(flavor = "current_thread")]
async fn large_files_pass_in_pieces() {
    let root = tempfile::tempdir().unwrap();
    let length = 9_u64 << 30;
    File::create(root.path().join("large"))
        .unwrap()
        .set_len(length)
        .unwrap();
    let mut packing = Packing::start(root.path(), ContextRules::default());
    let mut header = Vec::new();
    for _ in 0..64 {
        let piece = packing.pieces.recv().await.unwrap();
        assert!(piece.len() <= PIECE_BYTES, "{}", piece.len());
        if header.is_empty() {
            header.extend_from_slice(&piece[..512]);
        }
    }
    let header = Header::from_byte_slice(&header);
    assert_eq!(header.entry_size().unwrap(), length);
    // Whoever does not want the rest stops the reading.
    assert!(packing.end().is_err());
}
