use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::*;

/// An archive written entry by entry, with names that no honest writer would accept.
#[derive(Clone, Default)]
struct Tarball(Vec<u8>);

impl Tarball {
    fn entry(mut self, kind: EntryType, path: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Self::header(kind, path, mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.push(&header, content);
        self
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, 0o644, content)
    }

    fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, 0o755, b"")
    }

    fn link(mut self, kind: EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind, path, 0o777);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_size(0);
        header.set_cksum();
        self.push(&header, b"");
        self
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, path, target)
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(EntryType::Link, path, target)
    }

    fn device(mut self, path: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        let mut header = Self::header(kind, path, 0o666);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_size(0);
        header.set_cksum();
        self.push(&header, b"");
        self
    }

    /// An extended attribute of the entry that follows.
    fn xattr(self, name: &str, value: &[u8]) -> Self {
        let body = format!(" SCHILY.xattr.{name}=").len() + value.len() + 1;
        let length = (body..).find(|n| n.to_string().len() + body == *n).unwrap();
        let mut record = format!("{length} SCHILY.xattr.{name}=").into_bytes();
        record.extend_from_slice(value);
        record.push(b'\n');
        self.entry(EntryType::XHeader, "pax", 0o644, &record)
    }

    fn header(kind: EntryType, path: &str, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_600_000_000);
        header
    }

    fn push(&mut self, header: &tar::Header, content: &[u8]) {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn bytes(&self) -> Vec<u8> {
        [self.0.as_slice(), &[0; 1024]].concat()
    }

    fn unpack(&self) -> Result<Unpacked, UnpackError> {
        unpack_bytes(&self.bytes(), &LayerLimits::default())
    }
}

struct Unpacked {
    /// Holds `layer`, and a bystander that nothing may touch.
    directory: tempfile::TempDir,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// Unpacks plain bytes and proves that nothing beside the layer changed.
fn unpack_bytes(bytes: &[u8], limits: &LayerLimits) -> Result<Unpacked, UnpackError> {
    unpack_blob(bytes, digest(bytes), limits)
}

fn unpack_blob(
    blob: &[u8],
    diff_id: Digest,
    limits: &LayerLimits,
) -> Result<Unpacked, UnpackError> {
    let directory = tempfile::tempdir().unwrap();
    let bystander = directory.path().join("bystander");
    fs::write(&bystander, "untouched").unwrap();
    let before = fs::metadata(&bystander).unwrap();
    let result = unpack(
        blob,
        blob.len() as u64,
        diff_id,
        &directory.path().join("layer"),
        limits,
        &Stop::new(),
    );
    let after = fs::metadata(&bystander).unwrap();
    assert_eq!(fs::read(&bystander).unwrap(), b"untouched");
    assert_eq!(
        (
            before.mode(),
            before.nlink(),
            before.uid(),
            before.ctime_nsec()
        ),
        (after.mode(), after.nlink(), after.uid(), after.ctime_nsec())
    );
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["bystander", "layer"]);
    result.map(|()| Unpacked { directory })
}

impl Unpacked {
    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("layer").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let metadata = fs::symlink_metadata(self.path(path)).unwrap();
        metadata.file_type().is_char_device() && metadata.rdev() == 0
    }

    fn is_opaque(&self, path: &str) -> bool {
        xattr(&self.path(path), "trusted.overlay.opaque").as_deref() == Some(b"y")
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 65536];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

/// Everything one can see of a tree, by path.
fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    fn visit(
        root: &Path,
        path: &Path,
        links: &mut BTreeMap<u64, Vec<u8>>,
        seen: &mut BTreeMap<Vec<u8>, String>,
    ) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = metadata.file_type();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        let content = if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(path).unwrap())
        } else if kind.is_file() {
            digest(&fs::read(path).unwrap()).to_string()
        } else {
            String::new()
        };
        let same_as = links
            .entry(metadata.ino())
            .or_insert_with(|| name.clone())
            .clone();
        let xattrs: Vec<_> = ["security.capability", "user.note"]
            .iter()
            .map(|name| xattr(path, name))
            .collect();
        let text = format!(
            "{:o} {}:{} {}.{} {} {content} {:?} {xattrs:?}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            if kind.is_dir() { 0 } else { metadata.size() },
            OsStr::from_bytes(&same_as),
        );
        seen.insert(name, text);
        if kind.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            entries.sort();
            for entry in entries {
                visit(root, &entry, links, seen);
            }
        }
    }
    let mut seen = BTreeMap::new();
    visit(root, root, &mut BTreeMap::new(), &mut seen);
    seen
}

#[test]
fn a_tree_comes_out_as_gnu_tar_unpacks_it() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    let run = |script: &str| {
        let status = Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(directory.path())
            .status();
        assert!(status.unwrap().success(), "{script}");
    };
    run(r#"
        mkdir -p source/a/b "source/with space" source/$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200))
        cd source
        echo one > a/one; ln a/one a/b/two; ln -s one a/link; ln a/link a/link2; ln -s /etc/passwd a/absolute
        ln -s ../../../../etc a/out; mkfifo a/pipe; : > empty; chmod 6755 a/one; mkdir -m 1777 tmp; chown 1234:5678 tmp a/link
        chown 3000000:3000000 empty; head -c 300000 /dev/urandom > "with space/data"; touch -d '2001-02-03 04:05:06.789' empty a/b
        printf '\303\274\377' > "$(printf 'n\303\274\377')"; cp /bin/busybox a/cap; touch -h -d '2002-02-03' a/link
        truncate -s 5M sparse; echo tail >> sparse; touch -d '2003-03-03' .; chmod 751 .
    "#);
    let capability = [
        1, 0, 0, 2, 0x0a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    rustix::fs::lsetxattr(
        source.join("a/cap"),
        "security.capability",
        &capability,
        XattrFlags::empty(),
    )
    .unwrap();
    let users = rustix::fs::lsetxattr(
        source.join("a/one"),
        "user.note",
        b"x\ny",
        XattrFlags::empty(),
    )
    .is_ok();
    for (format, compress) in [("gnu", "cat"), ("pax", "gzip"), ("pax", "zstd -q")] {
        run(&format!(
            "tar -C source --format={format} --sparse --xattrs --xattrs-include='*' -cf plain.tar . && {compress} < plain.tar > blob
             rm -rf expected && mkdir expected && tar -C expected --xattrs --xattrs-include='*' -xpf plain.tar"
        ));
        let blob = fs::read(directory.path().join("blob")).unwrap();
        let plain = fs::read(directory.path().join("plain.tar")).unwrap();
        let unpacked = unpack_blob(&blob, digest(&plain), &LayerLimits::default()).unwrap();
        let expected = picture(&directory.path().join("expected"));
        assert!(expected.len() > 15);
        let found = picture(&unpacked.path(""));
        assert_eq!(found, expected, "{format} {compress}");
        assert!(
            fs::metadata(unpacked.path("sparse")).unwrap().blocks() < 100,
            "holes stay holes"
        );
        assert_eq!(
            xattr(&unpacked.path("a/cap"), "security.capability").unwrap(),
            capability
        );
        assert!(!users || xattr(&unpacked.path("a/one"), "user.note").unwrap() == b"x\ny");
    }
}

use rustix::fs::XattrFlags;

#[test]
fn whiteouts_take_the_form_overlayfs_reads() {
    let layer = Tarball::default()
        .directory("dir")
        .file("dir/.wh.gone", b"")
        .file("dir/.wh..wh..opq", b"")
        .file(".wh.old", b"")
        .file("implied/deep/.wh.x", b"")
        // Replaced in the same layer, in either order: what is here stays and hides what is below.
        .file(".wh.swapped", b"")
        .directory("swapped")
        .file("swapped/new", b"new")
        .directory("before")
        .file(".wh.before", b"")
        .file(".wh.file", b"")
        .file("file", b"kept")
        .file(".wh.through", b"")
        .file("through/it", b"kept")
        .file("dir/.wh..wh.plnk", b"")
        .file(".wh..wh.aufs", b"")
        .unpack()
        .unwrap();
    for path in ["dir/gone", "old", "implied/deep/x"] {
        assert!(layer.is_whiteout(path), "{path}");
    }
    for path in ["dir", "swapped", "before", "through"] {
        assert!(layer.is_opaque(path), "{path}");
    }
    assert!(!layer.is_opaque("implied"));
    assert_eq!(layer.text("swapped/new"), "new");
    assert_eq!(layer.text("file"), "kept");
    assert_eq!(layer.text("through/it"), "kept");
    let names: Vec<_> = fs::read_dir(layer.path("dir")).unwrap().collect();
    assert_eq!(names.len(), 1, "bookkeeping leaves nothing");
    for bad in [".wh.", ".wh..", ".wh..."] {
        let error = Tarball::default().file(bad, b"").unpack().err().unwrap();
        assert!(
            matches!(
                error,
                UnpackError::Entry {
                    source: EntryError::Whiteout,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn overlayfs_shows_the_layers_as_one_tree() {
    let lower = Tarball::default()
        .file("etc/keep", b"1")
        .file("etc/gone", b"1")
        .file("opt/a/old", b"1")
        .file("opt/b/old", b"1")
        .unpack()
        .unwrap();
    let upper = Tarball::default()
        .file("etc/.wh.gone", b"")
        .file("etc/new", b"2")
        .file("opt/a/.wh..wh..opq", b"")
        .file("opt/a/new", b"2")
        .file("opt/.wh.b", b"")
        .unpack()
        .unwrap();
    let mounted = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t overlay overlay -o ro,lowerdir={}:{} {m} && cd {m} && find . -type f | sort",
        upper.path("").display(),
        lower.path("").display(),
        m = mounted.path().display()
    );
    // The mount lives in a namespace of its own and ends with it.
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let files = String::from_utf8(output.stdout).unwrap();
    assert_eq!(files, "./etc/keep\n./etc/new\n./opt/a/new\n");
}

#[test]
fn links_never_lead_out() {
    // Every way to plant a link and then write through it.
    let through_symlinks = Tarball::default()
        .symlink("abs", "/")
        .symlink("up", "../../../../../..")
        .symlink("beside", "../bystander")
        .symlink("dir", "..")
        .directory("etc")
        .file("abs/etc/a", b"a")
        .file("up/etc/b", b"b")
        .file("dir/c", b"c")
        .file("dir/bystander", b"d")
        .file("beside", b"e")
        .unpack()
        .unwrap();
    for (path, text) in [
        ("etc/a", "a"),
        ("etc/b", "b"),
        ("c", "c"),
        ("bystander", "d"),
        ("beside", "e"),
    ] {
        assert_eq!(through_symlinks.text(path), text, "{path}");
    }
    assert!(
        fs::symlink_metadata(through_symlinks.path("beside"))
            .unwrap()
            .is_file()
    );

    let chained = Tarball::default()
        .symlink("x", "y")
        .symlink("y", "/../../")
        .file("x/bystander", b"inside")
        .unpack()
        .unwrap();
    assert_eq!(chained.text("bystander"), "inside");

    let error = |tarball: Tarball| tarball.unpack().err().expect("refused").to_string_chain();
    for (tarball, wanted) in [
        (Tarball::default().file("../bystander", b"x"), "`..`"),
        (Tarball::default().file("a/../../bystander", b"x"), "`..`"),
        (Tarball::default().hard_link("a", "../bystander"), "`..`"),
        (
            Tarball::default().hard_link("a", "/etc/passwd"),
            "does not have",
        ),
        (
            Tarball::default()
                .symlink("d", "..")
                .hard_link("a", "d/bystander"),
            "does not have",
        ),
        (
            Tarball::default()
                .symlink("l", "/proc/self/root")
                .hard_link("a", "l/etc/passwd"),
            "does not have",
        ),
        (
            Tarball::default()
                .symlink("l", "/proc/self/root")
                .file("l/etc/x", b""),
            "parent",
        ),
        (
            Tarball::default().symlink("l", "l").file("l/x", b""),
            "parent",
        ),
        (
            Tarball::default().symlink("l", "nowhere").file("l/x", b""),
            "parent",
        ),
        (Tarball::default().file("f", b"").file("f/x", b""), "parent"),
        (
            Tarball::default().directory("d").hard_link("a", "d"),
            "not a file",
        ),
        (
            Tarball::default().file(".wh.w", b"").hard_link("a", "w"),
            "not a file",
        ),
        (Tarball::default().hard_link("a", "a"), "does not have"),
        (Tarball::default().file(".", b"x"), "top of the layer"),
        (Tarball::default().symlink("/", "/tmp"), "top of the layer"),
    ] {
        let text = error(tarball);
        assert!(text.contains(wanted), "{text} should say {wanted}");
        assert!(text.contains("entry `"), "{text}");
    }
}

trait Chain {
    fn to_string_chain(&self) -> String;
}

impl Chain for UnpackError {
    fn to_string_chain(&self) -> String {
        mayfly_runtime::report(self)
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let layer = Tarball::default()
        .file("a", b"first")
        .hard_link("b", "a")
        .file("a", b"second")
        .directory("dir/sub")
        .file("dir/sub/x", b"x")
        .file("dir", b"now a file")
        .symlink("s", "/etc")
        .directory("s")
        .file("s/x", b"in a directory")
        .file("again", b"1")
        .hard_link("again", "again")
        .entry(EntryType::Fifo, "p", 0o640, b"")
        .entry(EntryType::Fifo, "p", 0o604, b"")
        .unpack()
        .unwrap();
    assert_eq!(layer.text("a"), "second");
    assert_eq!(
        layer.text("b"),
        "first",
        "a link keeps what it was linked to"
    );
    assert_eq!(layer.text("dir"), "now a file");
    assert_eq!(layer.text("s/x"), "in a directory");
    assert_eq!(layer.text("again"), "1");
    assert_eq!(
        fs::metadata(layer.path("p")).unwrap().mode() & 0o7777,
        0o604
    );
}

#[test]
fn devices_and_privileged_attributes_stay_out() {
    let layer = Tarball::default()
        .device("dev/sda", EntryType::Block, 8, 0)
        .device("dev/kmsg", EntryType::Char, 1, 11)
        .device("dev/fake-whiteout", EntryType::Char, 0, 0)
        .xattr("trusted.overlay.redirect", b"/etc")
        .directory("d")
        .xattr("trusted.overlay.opaque", b"y")
        .directory("e")
        .xattr("user.overlay.opaque", b"y")
        .directory("f")
        .xattr("security.selinux", b"system_u:object_r:bin_t:s0\0")
        .file("g", b"")
        .unpack()
        .unwrap();
    assert!(!layer.path("dev").exists());
    for (path, name) in [
        ("d", "trusted.overlay.redirect"),
        ("e", "trusted.overlay.opaque"),
        ("f", "user.overlay.opaque"),
        ("g", "security.selinux"),
    ] {
        assert_eq!(xattr(&layer.path(path), name), None, "{path}");
    }
    let error = Tarball::default()
        .xattr("security.capability", b"nonsense")
        .file("bin", b"")
        .unpack()
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string_chain().contains("entry `bin`"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bombs_end_at_the_limits() {
    let limits = LayerLimits {
        entries: 100,
        bytes: 1 << 20,
        ratio: 50,
        ratio_free_bytes: 64 * 1024,
        ..LayerLimits::default()
    };
    let refused = |blob: &[u8], limits: &LayerLimits| {
        unpack_blob(blob, digest(b""), limits)
            .err()
            .expect("refused")
    };
    let many = (0..101).fold(Tarball::default(), |tarball, n| {
        tarball.file(&format!("f{n}"), b"")
    });
    let error = refused(&many.bytes(), &limits);
    assert!(matches!(error, UnpackError::Entries(100)), "{error}");
    let deep = (0..20).fold(Tarball::default(), |tarball, n| {
        tarball.file(&format!("{n}/a/b/c/d/e/f/g/h/x"), b"")
    });
    let error = refused(&deep.bytes(), &limits);
    assert!(matches!(error, UnpackError::Entries(100)), "{error}");
    let zeros = Tarball::default().file("zeros", &vec![0; 900_000]);
    let error = refused(&gzip(&zeros.bytes()), &limits);
    assert!(matches!(error, UnpackError::Ratio(50)), "{error}");
    let error = refused(
        &zstd::encode_all(zeros.bytes().as_slice(), 19).unwrap(),
        &limits,
    );
    assert!(matches!(error, UnpackError::Ratio(50)), "{error}");
    // A header's own claim is not believed either, and zeros after the end are counted too.
    let large = Tarball::default().file("large", &vec![1; 2 << 20]);
    let error = refused(&large.bytes(), &limits);
    assert!(matches!(error, UnpackError::Bytes(_)), "{error}");
    let tail = [Tarball::default().file("f", b"").bytes(), vec![0; 900_000]].concat();
    let error = refused(&gzip(&tail), &limits);
    assert!(matches!(error, UnpackError::Ratio(50)), "{error}");
    let long_name =
        Tarball::default().entry(EntryType::GNULongName, "l", 0o644, &vec![b'a'; 100_000]);
    let error = refused(
        &long_name.bytes(),
        &LayerLimits {
            header_bytes: 50_000,
            ..LayerLimits::default()
        },
    );
    assert!(
        matches!(
            error,
            UnpackError::Archive {
                source: TarError::HeaderTooLong(_),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn cut_and_changed_layers_are_refused() {
    let plain = Tarball::default()
        .file("a", &[b'x'; 5000])
        .file("b", &[b'y'; 5000])
        .bytes();
    let good = digest(&plain);
    let limits = LayerLimits::default();
    for blob in [
        plain.clone(),
        gzip(&plain),
        zstd::encode_all(plain.as_slice(), 3).unwrap(),
    ] {
        unpack_blob(&blob, good, &limits).unwrap();
        for cut in [0, 1, 10, blob.len() / 2, blob.len() - 1] {
            let error = unpack_blob(&blob[..cut], good, &limits)
                .err()
                .expect("a cut layer is refused");
            assert_eq!(
                error.kind(),
                ErrorKind::Invalid,
                "{}",
                error.to_string_chain()
            );
        }
    }
    let other = Tarball::default().file("a", b"").bytes();
    let error = unpack_blob(&other, good, &limits).err().unwrap();
    assert!(matches!(error, UnpackError::Content { .. }), "{error}");
}

#[test]
fn a_told_stop_ends_the_unpacking() {
    let stop = Stop::new();
    stop.cancel();
    let directory = tempfile::tempdir().unwrap();
    let bytes = Tarball::default().file("a", b"").bytes();
    let target = directory.path().join("layer");
    let error = unpack(
        bytes.as_slice(),
        1,
        digest(&bytes),
        &target,
        &LayerLimits::default(),
        &stop,
    )
    .unwrap_err();
    assert!(matches!(error, UnpackError::Stopped), "{error}");
}

#[test]
fn odd_names_are_shown_safely() {
    assert_eq!(shown(b"a b/\xff\x1b[31m\n"), "a b/\\xff\\u{1b}[31m\\n");
    assert!(shown(&[b'a'; 1000]).len() < 310);
}

/// One entry of a generated archive, over few names so that they meet.
fn arbitrary_entry() -> impl Strategy<Value = (u8, String, String, Vec<u8>)> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".."),
        Just("."),
        Just(""),
        Just(".wh.a"),
        Just(".wh.b"),
        Just(".wh..wh..opq"),
        Just("bystander"),
        Just("layer"),
    ];
    let path = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"));
    let target = prop_oneof![
        path.clone(),
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just("../bystander".to_owned()),
        Just("/proc/self/cwd".to_owned()),
    ];
    (
        0u8..8,
        path,
        target,
        proptest::collection::vec(any::<u8>(), 0..20),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever is thrown at it, an unpack ends in a layer or an error and touches nothing beside (which
    /// `unpack_bytes` proves each time).
    #[test]
    fn generated_archives_stay_inside(entries in proptest::collection::vec(arbitrary_entry(), 1..25)) {
        // Archives whose names all are acceptable must go further than the first `..`: drop those half of the time.
        let clean = entries.len() % 2 == 0;
        let mut tarball = Tarball::default();
        for (kind, path, target, content) in entries {
            if clean && path.split('/').any(|part| part == "..") {
                continue;
            }
            tarball = match kind {
                0 | 1 => tarball.file(&path, &content),
                2 => tarball.directory(&path),
                3 | 4 => tarball.symlink(&path, &target),
                5 => tarball.hard_link(&path, &target),
                6 => tarball.entry(EntryType::Fifo, &path, 0o644, b""),
                _ => tarball.device(&path, EntryType::Char, 0, 0),
            };
        }
        if let Err(error) = tarball.unpack() {
            prop_assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.to_string_chain());
        }
    }
}
