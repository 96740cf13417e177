use super::*;

/// Whether a path is left out, judged directory by directory.
fn left_out(rules: &ContextRules, path: &str) -> bool {
    let mut judgement = Judgement::default();
    let ends = path.match_indices('/').map(|(end, _)| end);
    for end in ends.chain([path.len()]) {
        judgement = rules.judge(&judgement, &path[..end]);
    }
    judgement.left_out
}

#[test]
fn rules_are_those_of_docker() {
    // Rules, what they leave out, what they leave in.
    let cases: [(&str, &[&str], &[&str]); 25] = [
        ("", &[], &["a", "a/b"]),
        ("# temp\n#x", &[], &["temp", "#x"]),
        (" # temp", &["# temp"], &["temp"]),
        (
            "*/temp*",
            &["somedir/temporary.txt", "somedir/temp", "somedir/temp/x"],
            &["temp", "temporary.txt", "a/b/temp"],
        ),
        (
            "*/*/temp*",
            &["somedir/subdir/temporary.txt"],
            &["somedir/temp", "a/b/c/temp"],
        ),
        (
            "temp?",
            &["tempa", "tempb", "tempa/x"],
            &["temp", "tempab", "x/tempa"],
        ),
        ("**/*.go", &["a.go", "x/a.go", "x/y/a.go"], &["a.gob", "go"]),
        ("*.md\n!README.md", &["a.md"], &["README.md", "docs/a.md"]),
        (
            "*.md\n!README*.md\nREADME-secret.md",
            &["a.md", "README-secret.md"],
            &["README.md", "README-x.md"],
        ),
        (
            "*.md\nREADME-secret.md\n!README*.md",
            &["a.md"],
            &["README-secret.md", "README.md"],
        ),
        ("/foo/bar", &["foo/bar", "foo/bar/x"], &["foo", "x/foo/bar"]),
        ("foo/bar/", &["foo/bar", "foo/bar/x"], &["bar"]),
        ("./foo//bar/../baz", &["foo/baz"], &["foo/bar", "baz"]),
        ("../foo", &["foo"], &["bar"]),
        (".", &[], &["a", ".git"]),
        ("*", &["a", "a/b", ".git"], &[]),
        ("*\n!src", &["a", "b/src"], &["src", "src/deep/file"]),
        (
            "*\n!src/keep",
            &["a", "src/other"],
            &["src/keep", "src/keep/x"],
        ),
        ("**", &["a", "a/b/c"], &[]),
        (
            "node_modules\n!**/keep",
            &["node_modules/a"],
            &["node_modules/keep", "node_modules/a/keep"],
        ),
        ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/zz", "z"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
        (
            "**/.git",
            &[".git", "x/.git", "x/.git/y"],
            &[".github", ".gitignore"],
        ),
        ("[a-c]x\n[^0-9]y", &["ax", "cx/d", "zy"], &["dx", "1y"]),
        ("\\#x\na\\*b\nc+d", &["#x", "a*b", "c+d"], &["axb", "ccd"]),
    ];
    for (text, out, within) in cases {
        let rules = ContextRules::read(text).unwrap();
        for path in out {
            assert!(left_out(&rules, path), "{text:?} leaves {path} out");
        }
        for path in within {
            assert!(!left_out(&rules, path), "{text:?} leaves {path} in");
        }
    }
}

#[test]
fn what_is_no_rule_is_named_by_its_line() {
    for (text, line) in [("a\n!", 2), ("\n\n[a", 3), ("x\\", 1), ("[z-a]", 1)] {
        assert_eq!(ContextRules::read(text).unwrap_err().line, line, "{text:?}");
    }
}

#[test]
fn directories_are_skipped_only_if_nothing_in_them_is_wanted() {
    for (text, directory, may) in [
        ("a\nb", "a", false),
        ("*\n!src/keep", "a", false),
        ("*\n!src/keep", "src", true),
        ("*\n!src/keep/x", "src/other", false),
        ("*\n!src/*/x", "src/other", true),
        ("*\n!**/x", "any/where", true),
        ("*\n!x", "any", false),
    ] {
        let rules = ContextRules::read(text).unwrap();
        assert_eq!(
            rules.may_hold_exceptions(directory),
            may,
            "{text:?} {directory}"
        );
    }
}

#[test]
fn many_stars_take_no_time() {
    let rules = ContextRules::read(&"*a".repeat(30)).unwrap();
    assert!(!left_out(&rules, &"aaab".repeat(60)));
}
