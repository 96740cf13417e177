//! Other firewalls of the server that stand in the way of machines.

use std::process::Command;

/// The table of another firewall that drops what it does not know on its way through this server, machines' traffic
/// included: Docker sets such a policy. `None` if there is none, if it has rules for our interfaces, or if the rules
/// cannot be read.
///
/// Our own table cannot help: a packet passes only if no table of the server drops it.
pub(crate) fn foreign_drop(table: &str, prefix: &str) -> Option<String> {
    let listed = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .ok()?;
    find_drop(&String::from_utf8_lossy(&listed.stdout), table, prefix)
}

fn find_drop(ruleset: &str, own: &str, prefix: &str) -> Option<String> {
    let mut dropping = None;
    let mut table = "";
    for line in ruleset.lines() {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        }
        if table
            .split(' ')
            .nth(1)
            .is_some_and(|name| name == own || name.starts_with("mayfly_"))
        {
            continue;
        }
        if line.contains("hook forward") && line.contains("policy drop") {
            dropping = Some(table.to_owned());
        }
        // Whoever names our interfaces there has thought of them.
        if line.contains(&format!("\"{prefix}")) {
            return None;
        }
    }
    dropping
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_another_table_is_found_unless_our_interfaces_are_let_through() {
        let docker = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n";
        let remedy = "\t\tiifname \"mfabcd*\" counter packets 0 bytes 0 accept\n";
        let ours = "\t}\n}\ntable inet mayfly_abcd {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\
                    \t\tiifname \"mfabcd*\" accept\n";
        let found = |text: &str| find_drop(text, "mayfly_abcd", "mfabcd");
        assert_eq!(
            found(&format!("{docker}{ours}")),
            Some("ip filter".to_owned())
        );
        assert_eq!(found(&format!("{docker}{remedy}{ours}")), None);
        assert_eq!(found(ours), None);
        assert_eq!(found(&docker.replace("drop", "accept")), None);
    }
}
