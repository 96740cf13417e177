//! Changes that leave the rest of a file alone.

use mayfly_appconfig::{AutoStop, Format, edit, read};

use crate::{corpus, toml};

#[test]
fn comments_and_old_spellings_stay() {
    let text = "# Ours.\napp = \"old\" # the name\n\n[compute] # small\nsize = 'shared-cpu-1x'\n\n\
                [http_service]\n  # As the Dockerfile says.\n  internal_port = 8080\n  auto_stop_machines = true\n";
    let mut config = toml(text).config;
    assert_eq!(edit(text, &config), text);
    config.app = Some("new".to_owned());
    config.primary_region = Some("fra".to_owned());
    let service = config.http_service.as_mut().unwrap();
    service.auto_stop_machines = Some(AutoStop::Suspend);
    let edited = edit(text, &config);
    assert_eq!(
        edited,
        "# Ours.\napp = \"new\" # the name\nprimary_region = \"fra\"\n\n[compute] # small\nsize = 'shared-cpu-1x'\n\n\
         [http_service]\n  # As the Dockerfile says.\n  internal_port = 8080\n  auto_stop_machines = \"suspend\"\n"
    );
}

#[test]
fn a_section_that_went_is_taken_out() {
    let text =
        "app = 'a'\n\n# Data.\n[mount]\nsource = 'd'\ndestination = '/d'\n\n[env]\nA = '1'\n";
    let mut config = toml(text).config;
    config.mounts = None;
    let edited = edit(text, &config);
    assert!(
        !edited.contains("destination") && edited.contains("A = '1'"),
        "{edited}"
    );
}

/// From any file of the corpus to any other.
#[test]
fn an_edited_file_means_what_was_asked() {
    let names = [
        "web.toml",
        "everything.toml",
        "legacy.toml",
        "tables.toml",
        "groups.toml",
    ];
    for from in names {
        for to in names {
            let wanted = toml(&corpus(to)).config;
            let edited = edit(&corpus(from), &wanted);
            assert_eq!(
                read(&edited, Format::Toml).config,
                wanted,
                "{from} → {to}\n{edited}"
            );
        }
    }
}
