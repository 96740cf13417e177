use std::fs;
use std::os::unix::fs::MetadataExt;

use mayfly_image::{ImageError, LayerLimits, StoreConfig};
use mayfly_testing::TestImage;
use mayfly_types::ErrorKind;
use serde_json::json;

use crate::store::{TestStore, chain, image, run};

fn hello() -> TestImage {
    TestImage::busybox()
        .layer()
        .file("/www/index.html", 0o644, "hello")
        .layer()
        .whiteout("/www/old")
        .entrypoint(&["/bin/httpd"])
        .cmd(&["-f"])
        .env("MODE", "a=b")
        .user("app")
        .workdir("/www")
        .expose("8080/tcp")
        .volume("/data")
        .label("who", "test")
        .stop_signal("SIGINT")
}

#[tokio::test]
async fn a_layout_gives_layers_topmost_first_and_its_configuration() {
    let test = TestStore::open().await;
    let layout = test.beside("layout");
    let digest = hello().write_oci_layout(&layout, "hello:v1").unwrap();
    let imported = test.store.import(&layout, None).await.unwrap();
    assert_eq!(imported.len(), 1);
    let info = &imported[0].info;
    assert_eq!((info.digest, info.layers, info.ready), (digest, 3, true));
    assert_eq!(info.image, image("hello:v1").pinned(digest));
    assert_eq!(info.labels["who"], "test");
    let layers = test.store.layers(digest).unwrap();
    assert_eq!(layers.len(), 3);
    assert_eq!(fs::metadata(layers[0].join("www/old")).unwrap().rdev(), 0);
    assert_eq!(
        fs::read(layers[1].join("www/index.html")).unwrap(),
        b"hello"
    );
    assert_eq!(
        fs::read(layers[2].join("bin/busybox")).unwrap(),
        fs::read("/bin/busybox").unwrap()
    );
    let config = test.store.config(digest).unwrap();
    assert_eq!(
        (config.entrypoint, config.cmd),
        (vec!["/bin/httpd".to_owned()], vec!["-f".to_owned()])
    );
    assert_eq!(
        config.env,
        [
            ("PATH".to_owned(), "/bin".to_owned()),
            ("MODE".to_owned(), "a=b".to_owned())
        ]
    );
    assert_eq!(
        (config.user.as_str(), config.workdir.as_str()),
        ("app", "/www")
    );
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert!(config.exposed_ports.contains("8080/tcp") && config.volumes.contains("/data"));
    // A new process sees the same, and a local name needs no registry.
    let again = test.reopened().await;
    assert_eq!(again.list(), test.store.list());
    assert_eq!(again.layers(digest).unwrap(), layers);
    let resolved = again.resolve(&image("hello:v1"), None).await.unwrap();
    assert_eq!(resolved.digest, digest);
    assert_eq!(test.files("staging"), [""; 0]);
}

#[tokio::test]
async fn every_form_of_archive_gives_the_same_layers() {
    let test = TestStore::open().await;
    let image = hello();
    let directory = test.beside("");
    image
        .write_oci_layout(&directory.join("layout"), "hello:v1")
        .unwrap();
    image
        .write_oci_archive(&directory.join("oci.tar"), "hello:v2")
        .unwrap();
    image
        .write_docker_archive(&directory.join("docker.tar"), "hello:v3")
        .unwrap();
    run("gzip", &["-k", "oci.tar"], &directory);
    run("zstd", &["-q", "docker.tar"], &directory);
    let mut copies = vec![
        "layout",
        "oci.tar",
        "docker.tar",
        "oci.tar.gz",
        "docker.tar.zst",
    ];
    for (target, file) in [
        ("oci:skopeo-layout:hello:v4", "skopeo-layout"),
        ("oci-archive:skopeo-oci.tar:hello:v5", "skopeo-oci.tar"),
        (
            "docker-archive:skopeo-docker.tar:hello:v6",
            "skopeo-docker.tar",
        ),
    ] {
        let from = "oci:layout:hello:v1";
        run(
            "skopeo",
            &["copy", "--insecure-policy", "-q", from, target],
            &directory,
        );
        copies.push(file);
    }
    let mut layers = None;
    for copy in copies {
        let imported = test.store.import(&directory.join(copy), None).await;
        let imported = imported.unwrap_or_else(|error| panic!("{copy}: {}", chain(&error)));
        let found = test.store.layers(imported[0].digest).unwrap();
        assert_eq!(*layers.get_or_insert(found.clone()), found, "{copy}");
        let config = test.store.config(imported[0].digest).unwrap();
        assert_eq!(config.workdir, "/www", "{copy}");
    }
    assert_eq!(test.files("layers").len(), 3, "layers are shared");
    assert_eq!(test.files("staging"), [""; 0]);
    // docker.io/library/hello:v1 to v6; compressed copies say the same names again.
    assert_eq!(test.store.list().len(), 6);
}

#[tokio::test]
async fn names_come_from_the_archive_or_the_caller() {
    let test = TestStore::open().await;
    let layout = test.beside("layout");
    TestImage::empty()
        .file("/a", 0o644, "a")
        .write_oci_layout(&layout, "a:1")
        .unwrap();
    TestImage::empty()
        .file("/b", 0o644, "b")
        .write_oci_layout(&layout, "b:1")
        .unwrap();
    let imported = test.store.import(&layout, None).await.unwrap();
    let names: Vec<String> = imported
        .iter()
        .map(|pinned| pinned.image.repository().to_owned())
        .collect();
    assert_eq!(names, ["library/a", "library/b"]);
    let named = image("registry.fly.io/app:deployment-1");
    let error = test.store.import(&layout, Some(&named)).await.unwrap_err();
    assert!(chain(&error).contains("2 images"), "{}", chain(&error));

    let bare = test.beside("bare");
    TestImage::empty()
        .file("/c", 0o644, "c")
        .write_oci_layout(&bare, "latest")
        .unwrap();
    let error = test.store.import(&bare, None).await.unwrap_err();
    assert!(chain(&error).contains("`latest`"), "{}", chain(&error));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let imported = test.store.import(&bare, Some(&named)).await.unwrap();
    assert_eq!(imported[0].image.tag(), Some("deployment-1"));
    let resolved = test.store.resolve(&named, None).await.unwrap();
    assert_eq!(resolved.digest, imported[0].digest);
}

#[tokio::test]
async fn a_layer_listed_twice_is_mounted_once() {
    let test = TestStore::open().await;
    let layout = test.beside("layout");
    let empty = vec![0; 1024];
    TestImage::empty()
        .raw_layer(empty.clone())
        .layer()
        .file("/a", 0o644, "a")
        .raw_layer(empty)
        .write_oci_layout(&layout, "twice:1")
        .unwrap();
    let imported = test.store.import(&layout, None).await.unwrap();
    assert_eq!(imported[0].layers, 3);
    let layers = test.store.layers(imported[0].digest).unwrap();
    assert_eq!(layers.len(), 2);
    assert!(layers[1].join("a").exists(), "the repeated one is on top");
}

#[tokio::test]
async fn bad_sources_are_refused_and_leave_nothing() {
    let test = TestStore::open().await;
    let missing = test.store.import(&test.beside("nowhere"), None).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let damaged = |name: &str, change: &dyn Fn(&std::path::Path)| {
        let layout = test.beside(name);
        hello().write_oci_layout(&layout, "hello:v1").unwrap();
        change(&layout);
        layout
    };
    let blob = |layout: &std::path::Path, largest: bool| {
        let mut blobs: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        blobs.sort_by_key(|path| fs::metadata(path).unwrap().len());
        if largest {
            blobs.pop().unwrap()
        } else {
            blobs[0].clone()
        }
    };
    let manifest_of = |layout: &std::path::Path| {
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        layout
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    };
    let sources = [
        (
            damaged("empty-index", &|layout| {
                fs::write(layout.join("index.json"), r#"{"manifests":[]}"#).unwrap()
            }),
            "no image",
        ),
        (
            damaged("no-json", &|layout| {
                fs::write(layout.join("index.json"), "{").unwrap()
            }),
            "JSON",
        ),
        (
            damaged("no-manifest", &|layout| {
                fs::remove_file(manifest_of(layout)).unwrap()
            }),
            "no file",
        ),
        (
            damaged("other-manifest", &|layout| {
                fs::write(manifest_of(layout), "{}").unwrap()
            }),
            "has digest",
        ),
        (
            damaged("no-layer", &|layout| {
                fs::remove_file(blob(layout, true)).unwrap()
            }),
            "no file",
        ),
        (
            damaged("short-layer", &|layout| {
                let path = blob(layout, true);
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(1000).unwrap();
            }),
            "bytes instead of",
        ),
        (
            damaged("flipped-layer", &|layout| {
                let path = blob(layout, true);
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x55;
                fs::write(path, bytes).unwrap();
            }),
            "layer sha256:",
        ),
        (
            damaged("link-out", &|layout| {
                let path = manifest_of(layout);
                fs::rename(&path, test.beside("manifest-outside")).unwrap();
                std::os::unix::fs::symlink(test.beside("manifest-outside"), path).unwrap();
            }),
            "no file",
        ),
        (
            damaged("other-platform", &|layout| {
                let path = layout.join("index.json");
                let mut index: serde_json::Value =
                    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let mut second = index["manifests"][0].clone();
                index["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "s390x"});
                second["platform"] = json!({"os": "windows", "architecture": "amd64"});
                index["manifests"].as_array_mut().unwrap().push(second);
                fs::write(path, index.to_string()).unwrap();
            }),
            "linux/s390x",
        ),
        (
            {
                let path = test.beside("noise.tar");
                fs::write(&path, vec![7u8; 5000]).unwrap();
                path
            },
            "checksum",
        ),
        (
            {
                let path = test.beside("noise.gz");
                fs::write(&path, [0x1f, 0x8b, 1, 2, 3]).unwrap();
                path
            },
            "decompress",
        ),
        (
            {
                let path = test.beside("other-tar");
                let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
                tar.append_path_with_name("/etc/hostname", "hostname")
                    .unwrap();
                tar.into_inner().unwrap();
                path
            },
            "neither an OCI layout",
        ),
    ];
    for (source, wanted) in sources {
        let error = test.store.import(&source, None).await.err();
        let error = error.unwrap_or_else(|| panic!("{} is refused", source.display()));
        assert!(
            chain(&error).contains(wanted),
            "{} should say {wanted}",
            chain(&error)
        );
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", chain(&error));
        test.assert_empty();
    }
}

#[tokio::test]
async fn a_bad_layer_is_named_with_image_and_entry_and_good_ones_do_not_stay() {
    let test = TestStore::open().await;
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..11].copy_from_slice(b"../../evil!");
    header.set_size(0);
    header.set_cksum();
    evil.append(&header, std::io::empty()).unwrap();
    let layout = test.beside("layout");
    TestImage::empty()
        .file("/fine", 0o644, "fine")
        .raw_layer(evil.into_inner().unwrap())
        .write_oci_layout(&layout, "evil:1")
        .unwrap();
    let error = test.store.import(&layout, None).await.unwrap_err();
    assert!(matches!(error, ImageError::Layer { .. }));
    let text = chain(&error);
    assert!(
        text.contains("library/evil:1")
            && text.contains("sha256:")
            && text.contains("`../../evil!`"),
        "{text}"
    );
    test.assert_empty();
}

#[tokio::test]
async fn limits_are_those_of_the_configuration() {
    let test = TestStore::with(StoreConfig {
        limits: LayerLimits {
            bytes: 100_000,
            ..LayerLimits::default()
        },
        ..StoreConfig::default()
    })
    .await;
    let layout = test.beside("layout");
    hello().write_oci_layout(&layout, "hello:v1").unwrap();
    let error = test.store.import(&layout, None).await.unwrap_err();
    assert!(chain(&error).contains("100000 bytes"), "{}", chain(&error));
    let archive = test.beside("a.tar");
    hello().write_oci_archive(&archive, "hello:v1").unwrap();
    run("gzip", &["a.tar"], &test.beside(""));
    let error = test
        .store
        .import(&test.beside("a.tar.gz"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Import { .. }));
    assert!(test.files("staging").is_empty());
}
