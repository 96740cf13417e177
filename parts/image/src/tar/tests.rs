use std::process::Command;

use proptest::prelude::*;

use super::*;

const HEADER_BYTES: usize = 64 * 1024;

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(bytes, HEADER_BYTES);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = vec![0; usize::try_from(reader.left()).unwrap().min(1 << 20)];
        reader.read_content(&mut content)?;
        all.push((entry, content));
    }
    Ok(all)
}

/// A header for a member without extras.
fn raw(path: &str, type_flag: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(7);
    header.set_entry_type(tar::EntryType::new(type_flag));
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn with_content(type_flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = raw("meta", type_flag, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// One pax record with its own length in front.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = 1 + key.len() + 1 + value.len() + 1;
    let length = (body..)
        .find(|length| length.to_string().len() + body == *length)
        .unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[test]
fn binary_attributes_long_names_and_large_numbers_are_read() {
    let capability = b"\x01\x00\x00\x02\x0a=\x0a\x00 12 a=b\n\x00\x00";
    let long = "d/".repeat(200) + "file";
    let pax = [
        record("path", long.as_bytes()),
        record("uid", b"3000000"),
        record("mtime", b"1700000000.25"),
        record("SCHILY.xattr.security.capability", capability),
        record("comment", b"\xff\xfe"),
    ]
    .concat();
    let bytes = [
        with_content(b'g', &record("comment", b"ignored")),
        with_content(b'x', &pax),
        raw("short", b'0', 0),
        with_content(b'L', b"gnu/name\0"),
        with_content(b'K', b"gnu/target\0"),
        raw("short", b'2', 0),
    ]
    .concat();
    let found = entries(&bytes).unwrap();
    let [(file, _), (link, _)] = found.as_slice() else {
        panic!("two members, not {found:?}")
    };
    assert_eq!(file.path, long.as_bytes());
    assert_eq!(
        (file.uid, file.mtime),
        (3_000_000, (1_700_000_000, 250_000_000))
    );
    assert_eq!(
        file.xattrs,
        [(b"security.capability".to_vec(), capability.to_vec())]
    );
    assert_eq!(link.path, b"gnu/name");
    assert_eq!(link.kind, EntryKind::Symlink(b"gnu/target".to_vec()));
}

#[test]
fn sparse_files_of_every_version_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("holes");
    let file = std::fs::File::create(&path).unwrap();
    use std::os::unix::fs::FileExt;
    // More stretches than one header holds, so that extension blocks are used.
    for stretch in 0..40u64 {
        file.write_all_at(&[b'a' + stretch as u8 % 26; 4096], stretch << 20)
            .unwrap();
    }
    file.set_len(100 << 20).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(["-C", directory.path().to_str().unwrap(), "-S", "-c"])
            .args(format)
            .args(["-f", "-", "holes"])
            .output()
            .unwrap();
        let found = entries(&output.stdout).unwrap();
        let [(entry, content)] = found.as_slice() else {
            panic!("{format:?}: one member, not {}", found.len())
        };
        assert_eq!(entry.path, b"holes", "{format:?}");
        assert_eq!(entry.size, 100 << 20, "{format:?}");
        let stored: Vec<u64> = entry
            .segments
            .as_ref()
            .unwrap()
            .iter()
            .filter(|segment| segment.length > 0)
            .map(|segment| segment.offset >> 20)
            .collect();
        assert_eq!(stored, (0..40).collect::<Vec<u64>>(), "{format:?}");
        assert_eq!((content[0], content[4096]), (b'a', b'b'), "{format:?}");
    }
}

#[test]
fn hostile_headers_are_refused_by_name() {
    let flip = {
        let mut header = raw("a", b'0', 0);
        header[3] ^= 1;
        header
    };
    let huge_name = raw("meta", b'L', 1 << 40);
    let many_names: Vec<u8> = (0..300)
        .flat_map(|_| with_content(b'L', &[b'a'; 500]))
        .collect();
    let endless_size = {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(u64::MAX);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let sparse = |records: &[(&str, &str)]| {
        let records: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value.as_bytes()))
            .collect();
        [with_content(b'x', &records), raw("a", b'0', 0)].concat()
    };
    for (bytes, wanted) in [
        (flip, "checksum"),
        (raw("a", b'0', 100), "ends within"),
        (raw("a", b'0', 0)[..300].to_vec(), "ends within"),
        (with_content(b'x', &record("path", b"b")), "ends within"),
        (huge_name, "more than"),
        (many_names, "more than"),
        (endless_size, "ends within"),
        (raw("a", b'M', 0), "type `M`"),
        (with_content(b'x', b"12 path"), "extended header"),
        (with_content(b'x', b"5 a=b\n"), "extended header"),
        (
            with_content(b'x', b"99999999999999999999 a=b\n"),
            "extended header",
        ),
        (with_content(b'x', &record("uid", b"-1")), "extended header"),
        (
            sparse(&[("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "1")]),
            "sparse",
        ),
        (
            sparse(&[("GNU.sparse.map", "5,0,4,0"), ("GNU.sparse.size", "9")]),
            "sparse",
        ),
        (
            sparse(&[
                ("GNU.sparse.map", "18446744073709551615,9"),
                ("GNU.sparse.size", "1"),
            ]),
            "sparse",
        ),
        (sparse(&[("GNU.sparse.map", "0")]), "sparse"),
        (sparse(&[("GNU.sparse.major", "1")]), "sparse"),
        (
            [
                with_content(b'x', &record("uid", b"4294967295")),
                raw("a", b'0', 0),
            ]
            .concat(),
            "owner",
        ),
    ] {
        let error = entries(&bytes).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error} should say {wanted}");
    }
}

proptest! {
    /// Any bytes end in an answer or an error, in bounded memory.
    #[test]
    fn noise_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), sum in any::<bool>()) {
        if sum && bytes.len() >= BLOCK {
            let total: u32 = bytes[..148].iter().chain(&bytes[156..BLOCK]).map(|byte| u32::from(*byte)).sum();
            bytes[148..156].copy_from_slice(format!("{:06o}\0 ", total + 256).as_bytes());
        }
        let _ = entries(&bytes);
    }

    /// One damaged byte anywhere never panics either.
    #[test]
    fn damage_never_panics(at in 0usize..4096, with in any::<u8>()) {
        let mut bytes = [
            with_content(b'x', &[record("GNU.sparse.major", b"1"), record("GNU.sparse.realsize", b"9")].concat()),
            with_content(b'0', b"1\n0\n5\nabcde"),
            with_content(b'L', b"name"),
            raw("b", b'S', 0),
        ].concat();
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = entries(&bytes);
    }
}
