//! Running a request as root: each argument is held against what the host has.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use super::{Answer, Refusal, Request};
use crate::root::Root;
use crate::tool::{ToolCall, ToolError};

/// A disk that is dying may think long about an answer.
const SMART: Duration = Duration::from_secs(20);
/// More than any disk's report takes, hundreds of attributes and logs included.
const SMART_MOST: usize = 1 << 20;

/// A cluster whose file system waits for its quorum thinks long.
const PVESH: Duration = Duration::from_secs(20);

/// Runs it on that host, with the rights of this process.
///
/// # Errors
/// When it names what the host does not have, or cannot be run.
pub fn execute(root: &Root, request: &Request) -> Result<Answer, Refusal> {
    let call = match request {
        Request::Smart { device, kind } => {
            device_exists(root, device)?;
            let smartctl = ToolCall::new("smartctl").args(["--json", "-n", "standby"]);
            let smartctl = match kind {
                Some(kind) if is_device_type(kind) => smartctl.args(["-d", kind]),
                Some(kind) => return Err(Refusal::Invalid(format!("{kind:?} is no device type of smartctl"))),
                None => smartctl,
            };
            smartctl.arg("-a").arg(device).limit(SMART).most(SMART_MOST)
        }
        Request::Proxmox(get) => {
            get.check(root).map_err(Refusal::Invalid)?;
            let (path, parameters) = get.path();
            let pvesh = ToolCall::new("pvesh").args(["get", &path, "--output-format", "json"]);
            let add = |call: ToolCall, (key, value): &(&str, String)| call.arg(format!("--{key}")).arg(value);
            parameters.iter().fold(pvesh, add).limit(PVESH).most(get.most())
        }
        Request::SmartScan => ToolCall::new("smartctl").args(["--json", "--scan"]).limit(SMART).most(SMART_MOST),
        Request::Engine { engine, ask } => return crate::container::execute(root, *engine, ask),
        Request::UnitDirectories { unit } => return crate::service_disk::execute(root, unit),
        Request::WireguardPeers => return crate::peer::execute(root),
    };
    match root.tools().run(&call) {
        Ok(ran) => Ok(Answer { status: ran.status, body: ran.stdout, complaint: ran.stderr }),
        Err(error @ ToolError::Missing { .. }) => Err(Refusal::Unavailable(error.to_string())),
        Err(error) => Err(Refusal::Failed(error.outcome().error().unwrap_or_default().to_owned())),
    }
}

/// Whether that is a device file of a disk, or of a controller of disks, that
/// the kernel of this host knows.
fn device_exists(root: &Root, device: &str) -> Result<(), Refusal> {
    let invalid = || Refusal::Invalid(format!("{device:?} is no disk of this host"));
    let name = device.strip_prefix("/dev/").ok_or_else(invalid)?;
    let plain = |name: &str| {
        !name.is_empty() && name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let known = |path: String| root.sys(&path).exists();
    // The SCSI host itself, for disks behind it: it has no file in /dev.
    if let Some(number) = name.strip_prefix("bus/") {
        let is_number = number.len() <= 4 && number.parse::<u16>().is_ok();
        return if is_number && known(format!("class/scsi_host/host{number}")) { Ok(()) } else { Err(invalid()) };
    }
    let is_disk = plain(name)
        && (known(format!("block/{name}/device"))
            || known(format!("class/nvme/{name}"))
            || known(format!("class/scsi_generic/{name}")));
    // A copied tree has no device files.
    let is_device = !root.is_system()
        || fs::symlink_metadata(device)
            .is_ok_and(|file| file.file_type().is_block_device() || file.file_type().is_char_device());
    if is_disk && is_device { Ok(()) } else { Err(invalid()) }
}

/// The types of smartctl(8), option `-d`, that only say how a disk is reached.
fn is_device_type(kind: &str) -> bool {
    const PLAIN: [&str; 15] = [
        "auto",
        "ata",
        "scsi",
        "nvme",
        "sat",
        "sat,12",
        "sat,16",
        "sat,auto",
        "usbcypress",
        "usbjmicron",
        "usbprolific",
        "usbsunplus",
        "sntasmedia",
        "sntjmicron",
        "sntrealtek",
    ];
    const NUMBERED: [&str; 6] = ["megaraid,", "cciss,", "3ware,", "areca,", "hpt,", "aacraid,"];
    let kind = kind.strip_prefix("sat+").unwrap_or(kind);
    let numbers = |rest: &str| {
        !rest.is_empty() && rest.len() <= 16 && rest.split([',', '/']).all(|number| number.parse::<u16>().is_ok())
    };
    PLAIN.contains(&kind) || NUMBERED.iter().any(|prefix| kind.strip_prefix(prefix).is_some_and(numbers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for path in ["sys/block/sda/device", "sys/block/loop0", "sys/class/nvme/nvme0", "sys/class/scsi_host/host2"] {
            create_dir_all(dir.path().join(path)).unwrap();
        }
        create_dir_all(dir.path().join("tools")).unwrap();
        write(dir.path().join("tools/smartctl --json -n standby -a !dev!sda"), "plain").unwrap();
        write(dir.path().join("tools/smartctl --json -n standby -d megaraid,4 -a !dev!bus!2"), "raid").unwrap();
        write(dir.path().join("tools/smartctl --json -n standby -d megaraid,4 -a !dev!bus!2.status"), "64").unwrap();
        let root = Root::new(dir.path());
        (dir, root)
    }

    fn smart(root: &Root, device: &str, kind: Option<&str>) -> Result<Answer, Refusal> {
        execute(root, &Request::Smart { device: device.into(), kind: kind.map(Into::into) })
    }

    #[test]
    fn disks_of_this_host_are_asked() {
        let (_dir, root) = host();
        assert_eq!(smart(&root, "/dev/sda", None).unwrap().body, b"plain");
        let raid = smart(&root, "/dev/bus/2", Some("megaraid,4")).unwrap();
        assert_eq!((raid.body.as_slice(), raid.status), (&b"raid"[..], Some(64)));
        assert!(matches!(smart(&root, "/dev/nvme0", None), Err(Refusal::Unavailable(_))), "not recorded");
    }

    #[test]
    fn nothing_else_is() {
        let (_dir, root) = host();
        for device in [
            "sda",
            "/dev/sdb",
            "/dev/loop0",
            "/dev/",
            "/dev/../etc/shadow",
            "/dev/sda/../sda",
            "/dev/sda ",
            "-a",
            "/dev/bus/3",
            "/dev/bus/2/..",
            "/dev/bus/",
            "/dev/bus/+2",
            "/dev/SDA",
            "/etc/passwd",
            "",
        ] {
            assert!(matches!(smart(&root, device, None), Err(Refusal::Invalid(_))), "{device}");
        }
        for kind in ["", "test", "sat+", "megaraid,", "megaraid,x", "megaraid,4;id", "sat -s on", "intelliprop,1+x"] {
            assert!(matches!(smart(&root, "/dev/sda", Some(kind)), Err(Refusal::Invalid(_))), "{kind}");
        }
        for kind in ["sat", "sat+megaraid,12", "aacraid,0,1,2", "areca,3/2", "cciss,0"] {
            assert!(is_device_type(kind), "{kind}");
        }
        let here = Root::system();
        assert!(matches!(smart(&here, "/dev/null", None), Err(Refusal::Invalid(_))), "a device, but no disk");
    }

    #[test]
    fn only_what_the_kernel_knows_is_run() {
        let (_dir, root) = host();
        let names = ("[a-z0-9./ -]{0,12}", prop::option::of("[a-z0-9,+/ -]{0,12}"));
        proptest!(|((name, kind) in names)| {
            let answer = smart(&root, &format!("/dev/{name}"), kind.as_deref());
            if !["sda", "nvme0", "bus/2"].contains(&name.as_str()) {
                prop_assert!(matches!(answer, Err(Refusal::Invalid(_))), "{:?}", answer);
            }
        });
    }
}
