//! Who a program runs as, by the container's own files.

use rustix::fs::{Gid, Uid};

use super::guest_dir::GuestDir;
use crate::failure::Failure;

/// More than any passwd file; a hostile one must not fill the init's memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// Supplementary groups; the kernel wants `gid` among them as well for some checks, so it is.
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: String,
}

impl User {
    /// Resolves `user`, `user:group`, `uid` or `uid:gid`; empty means root.
    ///
    /// A number need not exist in the files; a name must. Supplementary groups come from /etc/group unless a group was
    /// given, as in Docker.
    pub(crate) fn look_up(root: &GuestDir, spec: &str) -> Result<User, Failure> {
        let read = |path| root.read(path, FILE_BYTES_MAX).unwrap_or_default();
        let passwd = read("/etc/passwd");
        let group = read("/etc/group");
        resolve(
            spec,
            &String::from_utf8_lossy(&passwd),
            &String::from_utf8_lossy(&group),
        )
    }
}

fn resolve(spec: &str, passwd: &str, group: &str) -> Result<User, Failure> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd
        .lines()
        .filter_map(PasswdEntry::parse)
        .find(|entry| entry.name == user || number.is_some_and(|number| number == entry.uid));
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(number)) => number,
        (None, None) => {
            return Err(Failure(format!("user {user} is not in /etc/passwd")));
        }
    };
    let mut gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let mut groups = Vec::new();
    match wanted_group {
        Some(wanted) => {
            let known = group
                .lines()
                .filter_map(GroupEntry::parse)
                .find(|entry| entry.name == wanted || wanted.parse() == Ok(entry.gid));
            gid = match (known, wanted.parse()) {
                (Some(entry), _) => entry.gid,
                (None, Ok(number)) => number,
                (None, Err(_)) => {
                    return Err(Failure(format!("group {wanted} is not in /etc/group")));
                }
            };
        }
        None => {
            if let Some(entry) = &entry {
                groups = group
                    .lines()
                    .filter_map(GroupEntry::parse)
                    .filter(|group| group.members.split(',').any(|name| name == entry.name))
                    .map(|group| group.gid)
                    .collect();
            }
        }
    }
    groups.retain(|other| *other != gid);
    groups.insert(0, gid);
    if uid == u32::MAX || groups.contains(&u32::MAX) {
        return Err(Failure(format!("user {spec} is out of range")));
    }
    let home = entry
        .as_ref()
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty())
        .unwrap_or(if uid == 0 { "/root" } else { "/" });
    Ok(User {
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
        groups: groups.into_iter().map(Gid::from_raw).collect(),
        home: home.to_owned(),
    })
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or("").trim();
        Some(GroupEntry { name, gid, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\n\
        app:x:1000:1001:App:/home/app:/bin/sh\nnohome:x:5:5\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nvideo:x:44:app,other\naudio:x:29:other\n\
        docker:x:999:other,app\n";

    fn user(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let user = resolve(spec, PASSWD, GROUP).unwrap();
        let groups = user.groups.iter().map(|gid| gid.as_raw()).collect();
        (user.uid.as_raw(), user.gid.as_raw(), groups, user.home)
    }

    #[test]
    fn names_numbers_and_groups() {
        let app = || (1000, 1001, vec![1001, 44, 999], "/home/app".to_owned());
        for (spec, wanted) in [
            ("", (0, 0, vec![0], "/root".to_owned())),
            ("root", (0, 0, vec![0], "/root".to_owned())),
            ("app", app()),
            ("1000", app()),
            ("app:", app()),
            ("app:video", (1000, 44, vec![44], "/home/app".to_owned())),
            ("app:7", (1000, 7, vec![7], "/home/app".to_owned())),
            ("4242", (4242, 0, vec![0], "/".to_owned())),
            ("4242:4343", (4242, 4343, vec![4343], "/".to_owned())),
            (":44", (0, 44, vec![44], "/root".to_owned())),
            ("nohome", (5, 5, vec![5], "/".to_owned())),
        ] {
            assert_eq!(user(spec), wanted, "{spec:?}");
        }
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        for (spec, wanted) in [
            ("nobody", "user nobody is not in /etc/passwd"),
            ("broken", "user broken is not in /etc/passwd"),
            ("app:nogroup", "group nogroup is not in /etc/group"),
            ("4294967295", "user 4294967295 is out of range"),
        ] {
            assert_eq!(resolve(spec, PASSWD, GROUP).unwrap_err().0, wanted);
        }
    }
}
