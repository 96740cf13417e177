//! A stock client.

use std::process::Command;

use mayfly_testing::TestImage;

use crate::desk::Desk;

fn skopeo(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("skopeo")
        .args(arguments)
        .output()
        .expect("the package skopeo is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn an_image_goes_in_and_comes_out_as_it_was() {
    let desk = Desk::open();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let pushed = TestImage::busybox()
        .layer()
        .file("/big", 0o644, vec![7; 3 << 20])
        .write_oci_layout(&directory.path().join("in"), "source:v1")
        .unwrap();
    let source = format!("oci:{}:source:v1", path("in"));
    let target = |name: &str| format!("docker://{}/{name}", desk.address);
    let copy = |flags: &[&str], from: &str, to: &str| {
        let mut arguments = vec![
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ];
        arguments.extend(flags);
        arguments.extend([from, to]);
        skopeo(&arguments)
    };
    copy(&["--dest-creds=x:ann"], &source, &target("web:v1")).unwrap();
    let denied = copy(&["--dest-creds=x:eve"], &source, &target("web:v2")).unwrap_err();
    assert!(denied.contains("unauthorized"), "{denied}");
    copy(&["--dest-creds=x:ann"], &source, &target("shop:v1")).unwrap_err();

    let both = ["--src-creds=x:ann", "--dest-creds=x:ann"];
    copy(&both, &target("web:v1"), &target("web/copy:v1")).unwrap();
    let out = format!("oci:{}:out:v1", path("out"));
    copy(&["--src-creds=x:ann"], &target("web/copy:v1"), &out).unwrap();
    let index = std::fs::read_to_string(directory.path().join("out/index.json")).unwrap();
    assert!(index.contains(&pushed.to_string()), "{index}");

    let asked = ["--creds=x:ann", "--tls-verify=false"];
    let tags = skopeo(&["list-tags", asked[0], asked[1], &target("web")]).unwrap();
    assert!(tags.contains("\"v1\""), "{tags}");
    skopeo(&["delete", asked[0], asked[1], &target("web:v1")]).unwrap();
    skopeo(&["inspect", asked[0], asked[1], &target("web:v1")]).unwrap_err();
}
