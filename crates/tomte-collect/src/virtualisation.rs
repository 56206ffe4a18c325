//! What a host runs in: a container, a virtual machine, or nothing.
//!
//! The names are those of systemd-detect-virt(1) where it has one.

use crate::reader::{read_file, read_trimmed};
use crate::root::Root;

/// The innermost thing it runs in; `none` for a machine of its own.
pub(crate) fn detect(root: &Root, kernel: &str) -> String {
    container(root, kernel).or_else(|| machine(root)).unwrap_or_else(|| "none".to_owned())
}

/// A container, by the traces that engines leave.
fn container(root: &Root, kernel: &str) -> Option<String> {
    let text = |path: &str| read_trimmed(&root.path(path)).ok().filter(|text| !text.is_empty());
    // systemd within a container writes it for everybody to read.
    if let Some(name) = text("run/systemd/container") {
        return Some(name);
    }
    // Readable by root alone.
    if let Ok(bytes) = read_file(&root.proc("1/environ")) {
        let mut variables = bytes.split(|&byte| byte == 0);
        if let Some(name) = variables.find_map(|variable| variable.strip_prefix(b"container=")) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Some(if name.is_empty() { "container-other".to_owned() } else { name });
        }
    }
    if root.path(".dockerenv").exists() {
        return Some("docker".to_owned());
    }
    if root.path("run/.containerenv").exists() {
        return Some("podman".to_owned());
    }
    // The outside of an OpenVZ host has /proc/bc too.
    if root.proc("vz").exists() && !root.proc("bc").exists() {
        return Some("openvz".to_owned());
    }
    let kernel = kernel.to_ascii_lowercase();
    (kernel.contains("microsoft") || kernel.contains("wsl")).then(|| "wsl".to_owned())
}

/// What firmware tables say, and what that means. `starts_with`, in order.
const FIRMWARE: [(&str, &str); 17] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Firecracker", "firecracker"),
];

/// A virtual machine.
fn machine(root: &Root) -> Option<String> {
    let text = |path: std::path::PathBuf| read_trimmed(&path).ok().filter(|text| !text.is_empty());
    // The control domain of Xen is the machine itself.
    if text(root.proc("xen/capabilities")).is_some_and(|text| text.contains("control_d")) {
        return None;
    }
    let hypervisor_flag = || {
        let cpuinfo = read_file(&root.proc("cpuinfo")).unwrap_or_default();
        has_hypervisor_flag(&String::from_utf8_lossy(&cpuinfo))
    };
    let firmware = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"]
        .into_iter()
        .filter_map(|file| text(root.sys("class/dmi/id").join(file)))
        .find_map(|text| FIRMWARE.iter().find(|(start, _)| text.starts_with(start)).map(|(_, name)| *name));
    match firmware {
        // QEMU with the processor's help; without it, it is the slow one.
        Some("qemu") if hypervisor_flag() => return Some("kvm".to_owned()),
        // The bare machines that Amazon lets say so too.
        Some("amazon") if !hypervisor_flag() && cfg!(target_arch = "x86_64") => return None,
        Some(name) => return Some(name.to_owned()),
        None => {}
    }
    if let Some(name) = text(root.sys("hypervisor/type")) {
        return Some(name);
    }
    // ARM and POWER tell it in the device tree.
    if let Some(compatible) = text(root.proc("device-tree/hypervisor/compatible")) {
        return Some(match compatible.as_str() {
            "linux,kvm" => "kvm".to_owned(),
            other if other.contains("xen") => "xen".to_owned(),
            other if other.contains("vmware") => "vmware".to_owned(),
            _ => "vm-other".to_owned(),
        });
    }
    hypervisor_flag().then(|| "vm-other".to_owned())
}

/// Whether the processor says that a hypervisor is there (x86).
fn has_hypervisor_flag(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.is_some_and(|(_, flags)| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn detected(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        detect(&Root::new(dir.path()), "6.12")
    }

    #[test]
    fn each_leaves_its_traces() {
        let flag = ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor lm\n");
        let vendor = |text| ("sys/class/dmi/id/sys_vendor", text);
        for (files, name) in [
            (vec![], "none"),
            (vec![vendor("LENOVO")], "none"),
            (vec![("run/systemd/container", "lxc\n"), flag], "lxc"),
            (vec![("proc/1/environ", "PATH=/bin\0container=podman\0TERM=x\0")], "podman"),
            (vec![("proc/1/environ", "container=\0")], "container-other"),
            (vec![(".dockerenv", ""), vendor("QEMU")], "docker"),
            (vec![vendor("QEMU"), flag], "kvm"),
            (vec![vendor("QEMU")], "qemu"),
            (vec![vendor("VMware, Inc."), flag], "vmware"),
            (vec![("sys/hypervisor/type", "xen\n")], "xen"),
            (vec![("proc/xen/capabilities", "control_d\n"), ("sys/hypervisor/type", "xen\n")], "none"),
            (vec![("proc/device-tree/hypervisor/compatible", "linux,kvm\0")], "kvm"),
            (vec![flag], "vm-other"),
        ] {
            assert_eq!(detected(&files), name, "{files:?}");
        }
        assert_eq!(detect(&Root::new("/nowhere"), "5.15.90.1-microsoft-standard-WSL2"), "wsl");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = has_hypervisor_flag(&text);
        }
    }
}
