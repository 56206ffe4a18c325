//! A generated host that is larger than most: a tree that collectors read in
//! place of `/`, with what its tools would print, and a program that answers
//! for its container engine and its systemd.
//!
//! It holds 64 disks, 500 units, 200 containers, 100 guests, 5,000 snapshots and
//! 3,000 processes. What the kernel and the tools say has their format and their
//! length; what it means is made up.

mod engine;
mod kernel;
mod systemd;
mod tools;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

pub(crate) const DISKS: usize = 64;
pub(crate) const UNITS: usize = 500;
pub(crate) const CONTAINERS: usize = 200;
pub(crate) const GUESTS: usize = 100;
pub(crate) const SNAPSHOTS: usize = 5_000;
pub(crate) const PROCESSES: usize = 3_000;

/// What its clock says, in seconds since 1970; it stands still, as recorded
/// questions hold times.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Where its system bus and its container engine listen.
const BUS: &str = "run/dbus/system_bus_socket";
const ENGINE: &str = "run/docker.sock";

/// Makes it in that folder.
pub(crate) fn make(folder: &Path) -> Result<()> {
    kernel::make(&Tree(folder))?;
    tools::make(&Tree(folder))
}

/// Answers for its engine and its systemd, until killed.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let listen = |name: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder)).context("the folder of a socket")?;
        UnixListener::bind(&path).with_context(|| format!("listening at {}", path.display()))
    };
    let (bus, engine) = (listen(BUS)?, listen(ENGINE)?);
    thread::spawn(move || engine::serve(&engine));
    systemd::serve(&bus);
    Ok(())
}

/// Whether it is served by now.
pub(crate) fn is_served(folder: &Path) -> bool {
    [BUS, ENGINE].iter().all(|name| folder.join(name).exists())
}

/// A tree that is being written.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Path);

impl Tree<'_> {
    fn put(self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<()> {
        let path = self.0.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
    /// What a tool prints when it is called so.
    fn tool(self, call: &str, prints: impl AsRef<[u8]>) -> Result<()> {
        self.put(Path::new("tools").join(call.replace('/', "!")), prints)
    }
}

/// The id of a container, and the process it runs in.
fn container_id(number: usize) -> String {
    format!("{number:04x}").repeat(16)
}

fn container_pid(number: usize) -> usize {
    2_000 + number
}

fn unit_name(number: usize) -> String {
    format!("application-{number:03}.service")
}
