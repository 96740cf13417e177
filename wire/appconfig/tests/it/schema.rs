use mayfly_appconfig::json_schema;

use crate::assert_golden;

/// The file editors load.
#[test]
fn the_checked_in_schema_is_ours() {
    let mut text = serde_json::to_string_pretty(&json_schema()).unwrap();
    text.push('\n');
    assert_golden("../../docs/fly.schema.json", &text);
}
