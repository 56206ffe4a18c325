//! Which devices are disks, and what to call them so that the name outlives a
//! change of cables: by WWN, else by serial number, else by device name.
//!
//! All of it comes from /sys/block, which the kernel answers from what it was
//! told when the device appeared; nothing here asks the device.

use std::path::Path;

use crate::reader::{read_file, read_number, read_trimmed};
use crate::root::Root;
use crate::settings::Filter;

/// What is known of a device that counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// In bytes.
    pub(super) size: u64,
    pub(super) model: String,
    pub(super) serial: Option<String>,
    /// As lsblk(8) writes it: `0x5000c500a1b2c3d4`, `eui.0025385b71b0c1f3`.
    pub(super) wwn: Option<String>,
    pub(super) rotational: bool,
    pub(super) removable: bool,
    /// The name that a person gave to a mapped device.
    given: Option<String>,
    /// Which part of a controller that has several.
    part: Option<i64>,
    /// Whether several of these may be ways to one disk. Bridges to USB are
    /// not: they give one number to all the disks behind them.
    may_be_a_path: bool,
}

/// What that device is; `None` when it does not count: partitions, empty slots
/// of card readers, optical drives, and all that is not hardware unless an
/// `include` glob asks for it.
pub(super) fn of(root: &Root, wanted: &Filter, device: &str) -> Option<Identity> {
    // The kernel writes cciss/c0d0 as cciss!c0d0 where a name must be one step.
    let directory = root.sys("block").join(device.replace('/', "!"));
    // A name from outside must not lead elsewhere.
    if device.starts_with('.') || !wanted.matches(device) || !directory.exists() {
        return None;
    }
    let number = |file: &str| read_number(&directory.join(file)).ok();
    let text = |file: &str| read_trimmed(&directory.join(file)).ok().filter(|text| !text.is_empty());
    let flag = |file: &str| number(file) == Some(1);
    let size =
        number("size").and_then(|sectors| u64::try_from(sectors).ok()).unwrap_or(0).saturating_mul(super::SECTOR);
    if !wanted.includes(device) && (size == 0 || !is_hardware(&directory, device) || flag("hidden")) {
        return None;
    }
    let vendor = text("device/vendor").filter(|vendor| vendor != "ATA" && !vendor.starts_with("0x"));
    let model = text("device/model").or_else(|| text("device/name")).unwrap_or_default();
    let serial = text("serial")
        .or_else(|| text("device/serial"))
        .or_else(|| read_file(&directory.join("device/vpd_pg80")).ok().and_then(|page| serial_of_page(&page)));
    let on_usb = directory.join("device").canonicalize().is_ok_and(|path| path.to_string_lossy().contains("/usb"));
    Some(Identity {
        size,
        model: vendor.into_iter().chain((!model.is_empty()).then_some(model)).collect::<Vec<_>>().join(" "),
        serial: serial.filter(|serial| is_telling(serial)),
        wwn: text("wwid").or_else(|| text("device/wwid")).and_then(|wwid| wwn(&wwid)),
        rotational: flag("queue/rotational"),
        removable: flag("removable"),
        given: text("dm/name"),
        part: number("nsid").filter(|&part| part > 1),
        may_be_a_path: !on_usb,
    })
}

/// Whether it is a disk of hardware (or one that a hypervisor made), rather
/// than something the kernel builds upon others.
fn is_hardware(directory: &Path, device: &str) -> bool {
    let optical_or_floppy = ["sr", "fd"].iter().any(|prefix| {
        device.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    // The small areas beside an eMMC's storage.
    let aside =
        device.starts_with("mmcblk") && (device.contains("boot") || device.contains("rpmb") || device.contains("gp"));
    !optical_or_floppy && !aside && directory.join("device").exists()
}

/// The serial number in SCSI's vital product data page 0x80, as the kernel
/// keeps it: four bytes of header, of which the last two are the length.
fn serial_of_page(page: &[u8]) -> Option<String> {
    let (header, text) = page.split_at_checked(4)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let text = text.get(..length).unwrap_or(text);
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A world-wide name out of the kernel's `wwid`; the other kinds of `wwid` are
/// long texts made of maker, model and serial number.
fn wwn(wwid: &str) -> Option<String> {
    let name = match (wwid.strip_prefix("naa."), wwid.strip_prefix("eui.")) {
        (Some(number), _) => format!("0x{}", number.to_ascii_lowercase()),
        (_, Some(number)) => format!("eui.{}", number.to_ascii_lowercase()),
        _ => return None,
    };
    let number = &wwid[4..];
    (number.bytes().all(|b| b.is_ascii_hexdigit()) && is_telling(number)).then_some(name)
}

/// Whether a number can tell one disk from another: those who forgot to set one
/// left it all zeros or the like.
fn is_telling(number: &str) -> bool {
    let mut characters = number.chars().filter(char::is_ascii_alphanumeric);
    characters.next().is_some_and(|first| characters.any(|other| other != first))
}

/// The disks, by name, each with the devices that lead to it. Of two disks that
/// claim one name, neither gets it.
pub(super) fn units(mut devices: Vec<(&str, &Identity)>) -> Vec<(String, Vec<String>)> {
    devices.sort_by_key(|(name, _)| (name.len(), *name));
    let mut disks: Vec<(Vec<&str>, &Identity)> = Vec::new();
    for (name, identity) in devices {
        match disks.iter_mut().find(|(_, known)| is_same_disk(known, identity)) {
            Some((paths, _)) => paths.push(name),
            None => disks.push((vec![name], identity)),
        }
    }
    // A device's own name is its last resort, and so no one else's.
    let claims: Vec<Vec<String>> = disks
        .iter()
        .map(|(paths, identity)| identity.claims().into_iter().chain([paths.join("+")]).collect())
        .collect();
    let name = |index: usize| {
        let own = &claims[index];
        let unclaimed =
            |claim: &&String| claims.iter().enumerate().all(|(other, all)| other == index || !all.contains(claim));
        own.iter().find(unclaimed).or(own.last()).cloned().unwrap_or_default()
    };
    let mut named: Vec<(String, Vec<String>)> =
        (0..disks.len()).map(|index| (name(index), disks[index].0.iter().map(ToString::to_string).collect())).collect();
    named.sort();
    named
}

fn is_same_disk(a: &Identity, b: &Identity) -> bool {
    a.may_be_a_path && b.may_be_a_path && a.wwn.is_some() && (&a.wwn, &a.serial, a.size) == (&b.wwn, &b.serial, b.size)
}

impl Identity {
    /// The names it may have, best first.
    fn claims(&self) -> Vec<String> {
        let serial = self.serial.as_ref().map(|serial| match self.part {
            Some(part) => format!("{serial}-n{part}"),
            None => serial.clone(),
        });
        [self.given.clone(), self.wwn.clone(), serial].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    fn host(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join("sys/block").join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        let root = Root::new(dir.path());
        (dir, root)
    }

    fn identity(wwn: &str, serial: &str, size: u64) -> Identity {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Identity { wwn: text(wwn), serial: text(serial), size, may_be_a_path: true, ..Identity::default() }
    }

    fn names(devices: &[(&str, Identity)]) -> Vec<String> {
        units(devices.iter().map(|(name, identity)| (*name, identity)).collect())
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn each_bus_tells_in_its_own_way() {
        let (_dir, root) = host(&[
            ("sda/size", b"100\n"),
            ("sda/device/wwid", b"naa.5000C500A1B2C3D4\n"),
            ("sda/device/vendor", b"ATA     \n"),
            ("sda/device/model", b"ST4000VN008-2DR1\n"),
            ("sda/device/vpd_pg80", b"\x00\x80\x00\x08ZDH1ABCD"),
            ("sdb/size", b"100\n"),
            ("sdb/device/wwid", b"t10.ATA     QEMU HARDDISK                           QM00001\n"),
            ("sdb/device/vendor", b"QEMU    \n"),
            ("sdb/device/model", b"QEMU HARDDISK\n"),
            ("nvme0n1/size", b"100\n"),
            ("nvme0n1/wwid", b"eui.0025385B71B0C1F3\n"),
            ("nvme0n1/device/serial", b"S4EWNX0R123456   \n"),
            ("nvme0n1/device/model", b"Samsung SSD 970 EVO 1TB                 \n"),
            ("nvme0n2/size", b"100\n"),
            ("nvme0n2/nsid", b"2\n"),
            ("nvme0n2/wwid", b"nvme.1b36-6162-514d-00000002\n"),
            ("nvme0n2/device/serial", b"ab\n"),
            ("vda/size", b"100\n"),
            ("vda/serial", b"disk-0"),
            ("vda/device/vendor", b"0x1af4\n"),
            ("vdb/size", b"100\n"),
            ("vdb/serial", b""),
            ("vdb/device/x", b""),
        ]);
        let told = |device: &str| of(&root, &Filter::default(), device).unwrap();
        let sda = told("sda");
        assert_eq!((sda.model.as_str(), sda.size), ("ST4000VN008-2DR1", 51_200));
        assert_eq!(sda.claims(), ["0x5000c500a1b2c3d4", "ZDH1ABCD"]);
        assert_eq!((told("sdb").model.as_str(), told("sdb").claims().len()), ("QEMU QEMU HARDDISK", 0));
        assert_eq!(told("nvme0n1").claims(), ["eui.0025385b71b0c1f3", "S4EWNX0R123456"]);
        assert_eq!(told("nvme0n2").claims(), ["ab-n2"]);
        assert_eq!((told("vda").claims(), told("vda").model), (vec!["disk-0".to_owned()], String::new()));
        assert!(told("vdb").claims().is_empty());
    }

    #[test]
    fn what_does_not_count() {
        let (_dir, root) = host(&[
            ("sda/size", b"100"),
            ("sda/device/x", b""),
            ("sda/sda1/size", b"90"),
            ("sdb/size", b"0"),
            ("sdb/device/x", b""),
            ("sr0/size", b"100"),
            ("sr0/device/x", b""),
            ("loop0/size", b"100"),
            ("mmcblk0/size", b"100"),
            ("mmcblk0/device/x", b""),
            ("mmcblk0boot0/size", b"8"),
            ("mmcblk0boot0/device/x", b""),
            ("nvme0c0n1/size", b"8"),
            ("nvme0c0n1/hidden", b"1"),
            ("nvme0c0n1/device/x", b""),
            ("cciss!c0d0/size", b"8"),
            ("cciss!c0d0/device/x", b""),
        ]);
        let counts = |device: &str| of(&root, &Filter::default(), device).is_some();
        assert!(counts("sda") && counts("mmcblk0") && counts("cciss/c0d0"));
        for device in ["sda1", "sdb", "sr0", "loop0", "mmcblk0boot0", "nvme0c0n1", "sdz", "..", "../block/sda"] {
            assert!(!counts(device), "{device}");
        }
        assert!(of(&root, &Filter::new([], ["sd*"]).unwrap(), "sda").is_none());
        assert!(of(&root, &Filter::new(["loop*"], []).unwrap(), "loop0").is_some());
    }

    #[test]
    fn disks_that_claim_one_name_get_others() {
        let same = "0x5000000000000001";
        let usb = |serial| Identity { may_be_a_path: false, ..identity(same, serial, 10) };
        assert_eq!(names(&[("sda", usb("A")), ("sdb", usb("B"))]), ["A", "B"]);
        assert_eq!(names(&[("sda", usb("A")), ("sdb", usb("A"))]), ["sda", "sdb"]);
        assert_eq!(names(&[("sda", identity(same, "A", 10)), ("sdb", identity(same, "A", 20))]), ["sda", "sdb"]);
        let paths = [("sda", identity(same, "A", 10)), ("sdb", identity(same, "A", 10))];
        assert_eq!(names(&paths), [same]);
        assert_eq!(names(&[("sda", identity("", "", 10)), ("sdb", identity("", "", 10))]), ["sda", "sdb"]);
        assert_eq!(names(&[("sda", identity("", "sdb", 10)), ("sdb", identity("", "", 10))]), ["sda", "sdb"]);
    }

    #[test]
    fn numbers_that_tell_nothing() {
        for wwid in ["naa.0000000000000000", "naa.", "naa.xyz", "t10.ATA x", "uuid.123", ""] {
            assert_eq!(wwn(wwid), None, "{wwid}");
        }
        assert!(!is_telling("") && !is_telling("0000") && !is_telling("  - ") && is_telling("0001"));
        assert_eq!(serial_of_page(b"\x00\x80\x00"), None);
        assert_eq!(serial_of_page(b"\x00\x80\xff\xff  A1 "), Some("A1".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(page: Vec<u8>, wwid: String) {
            let _ = (serial_of_page(&page), wwn(&wwid), is_telling(&wwid));
        }

        #[test]
        fn names_are_unique(disks in prop::collection::vec(("|x|y", "|s|t|sd1", 0_u64..2, any::<bool>()), 0..8)) {
            let disks: Vec<_> = disks
                .into_iter()
                .enumerate()
                .map(|(n, (wwn, serial, size, path))| (format!("sd{n}"), Identity { may_be_a_path: path, ..identity(&wwn, &serial, size) }))
                .collect();
            let named = units(disks.iter().map(|(name, identity)| (name.as_str(), identity)).collect());
            let mut unique: Vec<_> = named.iter().map(|(name, _)| name).collect();
            unique.dedup();
            prop_assert_eq!(unique.len(), named.len());
        }
    }
}
