//! What is asked of systemd: see org.freedesktop.systemd1(5).

use std::time::Duration;

use tomte_model::Outcome;

use super::unit::Detail;
use crate::dbus::{BusError, Call, Connection, Properties, Reader, Value};
use crate::root::Root;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const TOP: &str = "/org/freedesktop/systemd1";

/// A line of the list of units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) description: String,
    /// loaded, not-found, masked; empty for a unit that is not in the list.
    pub(crate) load: String,
    pub(crate) active: String,
    pub(crate) sub: String,
    pub(crate) has_job: bool,
}

/// systemd at the other end of the bus.
#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
    version: String,
}

impl Manager {
    /// Connects, where systemd runs this host.
    pub(crate) fn open(root: &Root, within: Duration) -> Result<Self, Outcome> {
        if !root.path("run/systemd/system").is_dir() {
            return Err(Outcome::Unavailable { error: "this host is not run by systemd".to_owned() });
        }
        let connection = Connection::open(root, within).map_err(|error| error.outcome())?;
        let mut manager = Self { connection, version: String::new() };
        manager.version = manager.text("Version").map_err(|error| error.outcome())?;
        Ok(manager)
    }

    /// How long everything from now on may take.
    pub(crate) fn within(&mut self, time: Duration) {
        self.connection.within(time);
    }

    /// The version of systemd.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// `running`, `degraded` and so on.
    pub(crate) fn state(&mut self) -> Result<String, BusError> {
        self.text("SystemState")
    }

    fn text(&mut self, property: &str) -> Result<String, BusError> {
        let arguments = [MANAGER, property];
        let call =
            Call { destination: SYSTEMD, path: TOP, interface: PROPERTIES, member: "Get", arguments: &arguments };
        let answer = self.connection.call(&call)?;
        match answer.body("v")?.variant()? {
            Value::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// All loaded units.
    pub(crate) fn units(&mut self) -> Result<Vec<Unit>, BusError> {
        let call = Call { destination: SYSTEMD, path: TOP, interface: MANAGER, member: "ListUnits", arguments: &[] };
        let answer = self.connection.call(&call)?;
        Ok(units(answer.body("a(ssssssouso)")?)?)
    }

    /// More about one unit.
    pub(crate) fn detail(&mut self, unit: &str) -> Result<Detail, BusError> {
        Ok(Detail::new(unit, &self.properties(unit, Detail::WANTED)?))
    }

    /// Those properties of one unit.
    pub(crate) fn properties(&mut self, unit: &str, wanted: &[&'static str]) -> Result<Properties, BusError> {
        let path = object_path(unit);
        // Of all interfaces at once: of the unit, and of what type it is.
        let call =
            Call { destination: SYSTEMD, path: &path, interface: PROPERTIES, member: "GetAll", arguments: &[""] };
        let answer = self.connection.call(&call)?;
        Ok(answer.body("a{sv}")?.properties(wanted)?)
    }
}

/// Reads the answer to `ListUnits`. Devices are left out at once: they are
/// most of the list, and nothing is said of them.
pub(super) fn units(mut body: Reader<'_>) -> Result<Vec<Unit>, crate::dbus::BadMessage> {
    let end = body.array(8)?;
    let mut units = Vec::new();
    while body.more(end) {
        body.structure()?;
        let (name, description, load) = (body.text()?, body.text()?, body.text()?);
        let (active, sub, _following, _path) = (body.text()?, body.text()?, body.text()?, body.text()?);
        let (job, _type, _path) = (body.u32()?, body.text()?, body.text()?);
        if name.ends_with(".device") {
            continue;
        }
        units.push(Unit {
            name: name.to_owned(),
            description: description.to_owned(),
            load: load.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            has_job: job != 0,
        });
    }
    Ok(units)
}

/// What a fuzzer is let loose on.
pub(crate) fn fuzz_units(body: &[u8]) -> usize {
    units(Reader::new(body, true)).map_or(0, |units| units.len())
}

/// The bus's name of a unit: what is neither a letter nor a digit is written
/// as its code, and so is a digit in front.
fn object_path(unit: &str) -> String {
    let mut path = format!("{TOP}/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_paths_that_systemd_gives_them() {
        // From a real list of units.
        assert_eq!(
            object_path("proc-sys-fs-binfmt_misc.mount"),
            "/org/freedesktop/systemd1/unit/proc_2dsys_2dfs_2dbinfmt_5fmisc_2emount"
        );
        assert_eq!(object_path("3proxy.service"), "/org/freedesktop/systemd1/unit/_33proxy_2eservice");
    }
}
