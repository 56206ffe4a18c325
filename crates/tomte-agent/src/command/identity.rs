//! The user that a command runs as: numbers and groups, from this machine's
//! own files. Directories elsewhere are not asked.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::{Gid, Uid};

/// Who a process is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
    pub(super) home: String,
}

impl Identity {
    /// The user of that name on this machine.
    pub(super) fn of(name: &str) -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(Path::new(path)).with_context(|| format!("reading {path}"));
        Self::parse(name, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    fn parse(name: &str, users: &str, groups: &str) -> anyhow::Result<Self> {
        let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = users.lines().map(fields).find(|user| user.first().is_some_and(|known| known == name));
        let Some(user) = user else { bail!("this machine has no user {name}") };
        let number = |place: usize| user.get(place).and_then(|text| text.parse::<u32>().ok());
        let (Some(uid), Some(gid)) = (number(2), number(3)) else { bail!("/etc/passwd says nothing useful of {name}") };
        if uid == u32::MAX || gid == u32::MAX {
            bail!("{name} has a number that no user can have");
        }
        let mut found = vec![gid];
        for group in groups.lines().map(fields) {
            let is_member = group.get(3).is_some_and(|members| members.split(',').any(|member| member == name));
            if let Some(id) = group.get(2).and_then(|text| text.parse().ok()).filter(|id| *id != u32::MAX && is_member)
            {
                found.push(id);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(Self {
            name: name.to_owned(),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            groups: found.into_iter().map(Gid::from_raw).collect(),
            home: user.get(5).filter(|home| home.starts_with('/')).map_or_else(|| "/".to_owned(), Clone::clone),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_user_has_all_of_its_groups_and_no_other() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:100::/home/ada:/bin/sh\nbad:x:-1:0::/:/bin/sh\n";
        let groups = "root:x:0:\nusers:x:100:\ndisk:x:6:ada,bob\nadm:x:4:adam\n";
        let ada = Identity::parse("ada", users, groups).unwrap();
        assert_eq!((ada.uid.as_raw(), ada.gid.as_raw(), ada.home.as_str()), (1000, 100, "/home/ada"));
        assert_eq!(ada.groups.iter().map(|group| group.as_raw()).collect::<Vec<_>>(), [6, 100]);
        for name in ["bob", "bad", "", "1000"] {
            assert!(Identity::parse(name, users, groups).is_err(), "{name}");
        }
        assert!(Identity::parse("evil", "evil:x:4294967295:0::/:", groups).is_err());
    }
}
