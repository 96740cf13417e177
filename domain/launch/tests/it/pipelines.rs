use mayfly_launch::pipeline::{CiSystem, Pipeline, Previews};

use crate::assert_golden;

fn pipeline() -> Pipeline {
    Pipeline {
        api: Some("https://api.example.com".to_owned()),
        deploys: true,
        previews: Some(Previews {
            app: "shop".to_owned(),
            org: "previews".to_owned(),
        }),
    }
}

#[test]
fn files_are_as_promised() {
    for system in CiSystem::ALL {
        for (path, text) in system.files(&pipeline()) {
            if path.ends_with("action.yml") {
                continue;
            }
            let name = path.trim_start_matches('.').replace('/', "-");
            assert_golden(&format!("ci-{name}"), &text);
        }
    }
}

#[test]
fn what_is_not_wanted_is_left_out() {
    for system in CiSystem::ALL {
        let text = |pipeline: &Pipeline| {
            let files = system.files(pipeline).into_iter();
            let own = files.filter(|(path, _)| !path.ends_with("action.yml"));
            own.map(|(_, text)| text).collect::<String>()
        };
        let deploys = text(&Pipeline {
            previews: None,
            ..pipeline()
        });
        assert!(
            deploys.contains("mayfly deploy --image-label") || deploys.contains("args: deploy")
        );
        assert!(!deploys.contains("FLY_PREVIEW_TOKEN"), "{deploys}");
        let previews = text(&Pipeline {
            deploys: false,
            api: None,
            ..pipeline()
        });
        assert!(!previews.contains("--image-label"), "{previews}");
        assert!(!previews.contains("FLY_FLAPS_BASE_URL"), "{previews}");
        assert!(previews.contains("--ttl 7d"), "{previews}");
    }
}
