//! Docker's own registry on loopback, filled by skopeo.

use std::fs;
use std::path::Path;

use mayfly_host_api::RegistryLogin;
use mayfly_image::{RegistryConfig, StoreConfig};
use mayfly_testing::{DockerRegistry, TestImage};
use mayfly_types::{Digest, ErrorKind, ImageRef, Secret};

use crate::store::{TestStore, chain, image, run};

/// `s3cret` for `user`.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n";

struct Registry {
    server: DockerRegistry,
    flags: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Password,
    Tls,
}

impl Registry {
    fn start(door: Door) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut http = "http:\n  addr: 127.0.0.1:0\n".to_owned();
        let mut auth = String::new();
        let mut flags = vec!["--dest-tls-verify=false".to_owned()];
        match door {
            Door::Open => {}
            Door::Password => {
                fs::write(path.join("htpasswd"), HTPASSWD).unwrap();
                let file = path.join("htpasswd");
                auth = format!(
                    "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                    file.display()
                );
                flags.push("--dest-creds=user:s3cret".to_owned());
            }
            Door::Tls => {
                run(
                    "openssl",
                    &[
                        "req",
                        "-x509",
                        "-newkey",
                        "ec",
                        "-pkeyopt",
                        "ec_paramgen_curve:P-256",
                        "-nodes",
                        "-days",
                        "2",
                        "-keyout",
                        "key.pem",
                        "-out",
                        "cert.pem",
                        "-subj",
                        "/CN=localhost",
                        "-addext",
                        "subjectAltName=DNS:localhost",
                        "-addext",
                        "basicConstraints=critical,CA:FALSE",
                    ],
                    path,
                );
                http.push_str(&format!(
                    "  tls:\n    certificate: {p}/cert.pem\n    key: {p}/key.pem\n",
                    p = path.display()
                ));
            }
        }
        Self {
            server: DockerRegistry::start_in(directory, &format!("{http}{auth}")),
            flags,
        }
    }

    /// Puts an image of a layout here under `name`.
    fn fill(&self, layout: &Path, name: &str, more: &[&str]) {
        let target = format!("docker://localhost:{}/{name}", self.server.port());
        let source = format!("oci:{}:source:v1", layout.display());
        let mut arguments = vec!["copy", "--insecure-policy", "-q"];
        arguments.extend(self.flags.iter().map(String::as_str));
        arguments.extend(more);
        arguments.extend([source.as_str(), target.as_str()]);
        run("skopeo", &arguments, layout);
    }

    fn image(&self, name: &str) -> ImageRef {
        image(&format!("localhost:{}/{name}", self.server.port()))
    }
}

fn source(test: &TestStore) -> (std::path::PathBuf, Digest) {
    let layout = test.beside("source");
    let digest = TestImage::busybox()
        .layer()
        .file("/www/index.html", 0o644, "hello")
        .layer()
        .whiteout("/bin/wget")
        .write_oci_layout(&layout, "source:v1")
        .unwrap();
    (layout, digest)
}

#[tokio::test]
async fn pulls_by_tag_and_digest_give_what_an_import_gives() {
    let registry = Registry::start(Door::Open);
    let test = TestStore::open().await;
    let (layout, digest) = source(&test);
    registry.fill(&layout, "team/app:v1", &[]);
    registry.fill(&layout, "team/docker:v1", &["--format=v2s2"]);

    let tagged = registry.image("team/app:v1");
    let resolved = test.store.resolve(&tagged, None).await.unwrap();
    assert_eq!((resolved.digest, resolved.ready), (digest, false));
    let pinned = test.store.ensure(&tagged, None).await.unwrap();
    assert_eq!((pinned.digest, pinned.ready), (digest, true));
    assert_eq!(pinned.image, tagged.pinned(digest));
    let layers = test.store.layers(digest).unwrap();
    assert_eq!(
        fs::read(layers[1].join("www/index.html")).unwrap(),
        b"hello"
    );

    let by_digest = registry.image(&format!("team/app@{digest}"));
    assert_eq!(
        test.store.ensure(&by_digest, None).await.unwrap().digest,
        digest
    );
    let docker = test
        .store
        .ensure(&registry.image("team/docker:v1"), None)
        .await
        .unwrap();
    assert_ne!(docker.digest, digest);
    assert_eq!(test.store.layers(docker.digest).unwrap(), layers);

    let other = TestStore::open().await;
    let imported = other.store.import(&layout, None).await.unwrap();
    assert_eq!(imported[0].digest, digest);
    assert_eq!(other.files("layers"), test.files("layers"));
    assert_eq!(test.files("staging"), [""; 0]);

    for (name, wanted) in [
        ("team/app:v2", "no manifest"),
        ("team/none:v1", "no manifest"),
    ] {
        let error = test
            .store
            .ensure(&registry.image(name), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", chain(&error));
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_tag_that_moved_is_seen_and_a_silent_registry_is_not_needed() {
    let registry = Registry::start(Door::Open);
    let test = TestStore::open().await;
    let (layout, first) = source(&test);
    registry.fill(&layout, "app:live", &[]);
    let name = registry.image("app:live");
    assert_eq!(test.store.ensure(&name, None).await.unwrap().digest, first);
    let newer = test.beside("newer");
    let second = TestImage::empty()
        .file("/new", 0o644, "new")
        .write_oci_layout(&newer, "source:v1")
        .unwrap();
    registry.fill(&newer, "app:live", &[]);
    assert_eq!(test.store.ensure(&name, None).await.unwrap().digest, second);
    // The older image is still listed under the name it had, for the machines that run it.
    assert!(test.store.list().iter().any(|info| info.digest == first));
    drop(registry);
    assert_eq!(test.store.ensure(&name, None).await.unwrap().digest, second);
    let unknown = name.to_string().replace("live", "other").parse().unwrap();
    let error = test.store.resolve(&unknown, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_password_is_given_where_it_is_asked_for() {
    let registry = Registry::start(Door::Password);
    let test = TestStore::open().await;
    let (layout, digest) = source(&test);
    registry.fill(&layout, "private/app:v1", &[]);
    let name = registry.image("private/app:v1");
    let login = |password: &str| RegistryLogin {
        username: "user".to_owned(),
        password: Secret::new(password),
    };
    for (login, wanted) in [
        (None, "without a login"),
        (Some(login("wrong")), "user `user`"),
    ] {
        let error = test.store.ensure(&name, login.as_ref()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
        assert!(!chain(&error).contains("wrong"));
    }
    let pinned = test
        .store
        .ensure(&name, Some(&login("s3cret")))
        .await
        .unwrap();
    assert_eq!(pinned.digest, digest);
}

#[tokio::test]
async fn tls_needs_an_authority_we_know() {
    let registry = Registry::start(Door::Tls);
    let test = TestStore::open().await;
    let (layout, digest) = source(&test);
    registry.fill(&layout, "app:v1", &[]);
    let name = image("registry.test/app:v1");
    let with_ca = |ca_file| StoreConfig {
        ca_file,
        registries: [(
            "registry.test".to_owned(),
            RegistryConfig {
                base_url: format!("https://localhost:{}", registry.server.port()),
            },
        )]
        .into(),
        attempts_max: 2,
        ..StoreConfig::default()
    };
    let stranger = TestStore::with(with_ca(None)).await;
    let error = stranger.store.ensure(&name, None).await.unwrap_err();
    assert!(
        chain(&error).contains("certificate") || chain(&error).contains("authorities"),
        "{}",
        chain(&error)
    );
    let friend = TestStore::with(with_ca(Some(registry.server.directory().join("cert.pem")))).await;
    assert_eq!(
        friend.store.ensure(&name, None).await.unwrap().digest,
        digest
    );
}
