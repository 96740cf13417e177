use mayfly_launch::workflow::{Cloud, deploy, preview};

use crate::assert_golden;

#[test]
fn workflows_are_as_promised() {
    let cloud = Cloud {
        api: Some("https://api.example.com".to_owned()),
    };
    assert_golden("workflow-deploy.yml", &deploy(&cloud));
    assert_golden("workflow-preview.yml", &preview(&cloud, "shop", "previews"));
}
