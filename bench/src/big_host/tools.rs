//! What the tools of the generated host print.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::kernel::disk_name;
use super::{DISKS, GUESTS, NOW, SNAPSHOTS, Tree};

const DATASETS: usize = 200;
const PEERS: usize = 100;
const PACKAGES: usize = 150;
const GPUS: usize = 4;

pub(super) fn make(tree: &Tree<'_>) -> Result<()> {
    smart(*tree)?;
    zfs(*tree)?;
    proxmox(*tree)?;
    peers(*tree)?;
    packages(*tree)?;
    gpus(*tree)
}

fn smart(tree: Tree<'_>) -> Result<()> {
    let attribute = |id: u32| {
        json!({"id": id, "name": format!("Attribute_{id}"), "value": 100, "worst": 100, "thresh": 10, "when_failed": "",
               "flags": {"value": 47, "string": "POSR-K ", "prefailure": true}, "raw": {"value": 0, "string": "0"}})
    };
    let attributes: Vec<_> =
        [1, 3, 4, 5, 7, 9, 10, 12, 187, 188, 190, 192, 193, 194, 197, 198, 199, 240, 241, 242].map(attribute).into();
    for number in 0..DISKS {
        let report = json!({
            "json_format_version": [1, 0],
            "smartctl": {"version": [7, 4], "exit_status": 0},
            "device": {"name": format!("/dev/{}", disk_name(number)), "type": "sat", "protocol": "ATA"},
            "model_name": "EXAMPLE ST8000", "serial_number": format!("SERIAL{number:04}"),
            "wwn": {"naa": 5, "oui": 3152, "id": number},
            "smart_status": {"passed": true}, "temperature": {"current": 35},
            "power_on_time": {"hours": 20_000}, "rotation_rate": 7200,
            "ata_smart_attributes": {"revision": 10, "table": attributes},
            "ata_smart_data": {"self_test": {"status": {"value": 0, "string": "completed without error", "passed": true}}},
            "ata_smart_self_test_log": {"standard": {"count": 0, "table": []}},
        });
        tree.tool(&format!("smartctl --json -n standby -a /dev/{}", disk_name(number)), pretty(&report))?;
    }
    Ok(())
}

fn zfs(tree: Tree<'_>) -> Result<()> {
    let vdev = |name: String, kind: &str, below: Value| {
        json!({"name": name, "vdev_type": kind, "guid": 1, "class": "normal", "state": "ONLINE", "read_errors": 0,
               "write_errors": 0, "checksum_errors": 0, "vdevs": below})
    };
    let groups: serde_json::Map<String, Value> = (0..DISKS / 8)
        .map(|group| {
            let disks: serde_json::Map<String, Value> = (0..8)
                .map(|disk| disk_name(group * 8 + disk))
                .map(|name| (name.clone(), vdev(name, "disk", json!({}))))
                .collect();
            let name = format!("raidz2-{group}");
            (name.clone(), vdev(name, "raidz", disks.into()))
        })
        .collect();
    let property = |value: Value| json!({"value": value, "source": {"type": "NONE", "data": "-"}});
    let list = json!({"output_version": {"command": "zpool list"}, "pools": {"tank": {"name": "tank", "type": "POOL", "state": "ONLINE",
        "properties": {"size": property(json!(500_000_000_000_000_u64)), "allocated": property(json!(1)), "free": property(json!(1)),
            "fragmentation": property(json!(5)), "capacity": property(json!(50)), "dedupratio": property(json!("1.00")), "health": property(json!("ONLINE"))}}}});
    let status = json!({"output_version": {"command": "zpool status"}, "pools": {"tank": {"name": "tank", "state": "ONLINE", "error_count": 0,
        "scan_stats": {"function": "SCRUB", "state": "FINISHED", "start_time": NOW - 9_000, "end_time": NOW - 5_000, "errors": 0},
        "vdevs": {"tank": vdev("tank".into(), "root", groups.into())}}}});
    tree.tool("zpool list -j --json-int", pretty(&list))?;
    tree.tool("zpool status -j --json-int", pretty(&status))?;
    let (mut datasets, mut snapshots) = (String::new(), String::new());
    for number in 0..DATASETS {
        let _ = writeln!(
            datasets,
            "tank/data-{number}\tfilesystem\t1000000\t2000000\t900000\t100000\t1.50\t0\t0\t-\t/tank/data-{number}"
        );
        for snapshot in 0..SNAPSHOTS / DATASETS {
            let _ = writeln!(
                snapshots,
                "tank/data-{number}@autosnap_2026-11-{snapshot:02}_00:00:00_daily\t{}",
                NOW - 3_600 * snapshot as i64
            );
        }
    }
    let columns = "name,type,used,available,referenced,usedbysnapshots,compressratio,quota,refquota,volsize,mountpoint";
    tree.tool(&format!("zfs list -H -p -t filesystem,volume -o {columns}"), datasets)?;
    tree.tool("zfs list -H -p -t snapshot -o name,creation", snapshots)?;
    tree.tool("zfs version", "zfs-2.3.2-1\nzfs-kmod-2.3.2-1\n")
}

fn proxmox(tree: Tree<'_>) -> Result<()> {
    let node = "pve1";
    let pvesh = |path: &str, more: &str, answer: Value| {
        tree.tool(&format!("pvesh get {path} --output-format json{more}"), answer.to_string())
    };
    let guest =
        |number: usize| (100 + number, if number.is_multiple_of(2) { ("qemu", "qemu-server") } else { ("lxc", "lxc") });
    tree.put(format!("etc/pve/nodes/{node}/.keep"), "")?;
    pvesh(
        "/cluster/status",
        "",
        json!([{"type": "cluster", "name": "home", "quorate": 1, "nodes": 1, "id": "cluster"},
        {"type": "node", "name": node, "online": 1, "local": 1, "ip": "192.0.2.1", "id": "node/pve1"}]),
    )?;
    let mut resources = vec![
        json!({"type": "node", "node": node, "id": "node/pve1", "status": "online", "cpu": 0.1, "maxcpu": 32, "mem": 1, "maxmem": 2}),
        json!({"type": "storage", "node": node, "id": "storage/pve1/backup", "storage": "backup", "status": "available", "content": "backup", "disk": 1, "maxdisk": 2, "plugintype": "dir"}),
    ];
    let mut backups = Vec::new();
    for number in 0..GUESTS {
        let (vmid, (kind, folder)) = guest(number);
        tree.put(format!("etc/pve/nodes/{node}/{folder}/{vmid}.conf"), "")?;
        resources.push(json!({"type": kind, "vmid": vmid, "id": format!("{kind}/{vmid}"), "name": format!("guest{vmid}"), "node": node,
            "status": "running", "maxcpu": 4, "cpu": 0.05, "mem": 1_000_000_000, "maxmem": 4_000_000_000_u64, "disk": 0, "maxdisk": 32_000_000_000_u64,
            "netin": 123, "netout": 456, "diskread": 7, "diskwrite": 8, "uptime": 100_000, "template": 0, "tags": "web;prod"}));
        let (config, interfaces, path) = if kind == "qemu" {
            let addresses = json!({"result": [{"name": "eth0", "hardware-address": "02:00:00:00:00:01", "ip-addresses": [{"ip-address": "192.0.2.9", "ip-address-type": "ipv4", "prefix": 24}]}]});
            (
                json!({"name": "x", "cores": 4, "memory": "4096", "agent": "1", "net0": "virtio=02:00:00:00:00:01,bridge=vmbr0", "scsi0": "local:vm-disk-0,size=32G", "boot": "order=scsi0"}),
                addresses,
                "agent/network-get-interfaces",
            )
        } else {
            let addresses = json!([{"name": "eth0", "hwaddr": "02:00:00:00:00:01", "inet": "192.0.2.9/24"}]);
            (
                json!({"hostname": "x", "cores": 2, "memory": 1024, "net0": "name=eth0,bridge=vmbr0,ip=dhcp", "rootfs": "local:subvol,size=8G"}),
                addresses,
                "interfaces",
            )
        };
        pvesh(&format!("/nodes/{node}/{kind}/{vmid}/config"), "", config)?;
        pvesh(&format!("/nodes/{node}/{kind}/{vmid}/{path}"), "", interfaces)?;
        for copy in 0..7 {
            backups.push(json!({"volid": format!("backup:backup/vzdump-{kind}-{vmid}-{copy}.vma.zst"), "ctime": NOW - 86_400 * copy, "vmid": vmid, "size": 1_000_000, "format": "vma.zst", "content": "backup"}));
        }
    }
    let rows = |kind: &str| resources.iter().filter(|row| row["type"] == kind).cloned().collect::<Vec<_>>();
    pvesh(&format!("/nodes/{node}/qemu"), "", rows("qemu").into())?;
    pvesh(&format!("/nodes/{node}/lxc"), "", rows("lxc").into())?;
    pvesh(&format!("/nodes/{node}/storage/backup/content"), " --content backup", backups.into())?;
    pvesh("/cluster/resources", "", resources.into())?;
    pvesh(
        &format!("/nodes/{node}/status"),
        "",
        json!({"pveversion": "pve-manager/9.1.1/42db4a6cf33dac83", "kversion": "Linux 6.17.2-1-pve #1 SMP"}),
    )?;
    pvesh(&format!("/nodes/{node}/replication"), "", json!([]))?;
    pvesh(
        "/cluster/backup",
        "",
        json!([{"id": "backup-1", "enabled": 1, "all": 1, "schedule": "02:30", "storage": "backup", "next-run": NOW + 3_600}]),
    )?;
    let since = NOW - 86_400;
    pvesh(&format!("/nodes/{node}/tasks"), &format!(" --limit 500 --since {since} --source all"), json!([]))
}

fn peers(tree: Tree<'_>) -> Result<()> {
    let key = |number: usize| format!("{number:043}=");
    let list = |value: &dyn Fn(usize) -> String| {
        (0..PEERS).map(|peer| format!("wg0\t{}\t{}\n", key(peer), value(peer))).collect::<String>()
    };
    tree.tool("wg show all public-key", "wg0\tOWN=\n")?;
    tree.tool("wg show all endpoints", list(&|peer| format!("198.51.100.{peer}:51820")))?;
    tree.tool("wg show all allowed-ips", list(&|peer| format!("10.8.0.{peer}/32")))?;
    tree.tool("wg show all latest-handshakes", list(&|_| (NOW - 60).to_string()))?;
    tree.tool("wg show all transfer", list(&|peer| format!("{peer}000\t{peer}000")))?;
    let peer = |number: usize| {
        (
            format!("nodekey:{number}"),
            json!({"HostName": "x", "DNSName": format!("host{number}.example.ts.net."), "OS": "linux", "TailscaleIPs": ["100.64.0.2"],
            "CurAddr": "198.51.100.7:41641", "Relay": "fra", "RxBytes": 5, "TxBytes": 6, "LastHandshake": "2026-01-31T23:59:00Z", "Online": true}),
        )
    };
    let all: serde_json::Map<String, Value> = (0..PEERS).map(peer).collect();
    tree.tool("tailscale status --json", pretty(&json!({"Version": "1.80.2", "BackendState": "Running", "Peer": all})))
}

fn packages(tree: Tree<'_>) -> Result<()> {
    tree.put("var/lib/dpkg/status", "")?;
    tree.put("var/lib/apt/lists/x", "")?;
    let mut simulated = "Reading package lists...\nBuilding dependency tree...\n".to_owned();
    for number in 0..PACKAGES {
        let _ = writeln!(
            simulated,
            "Inst package-{number} [1.0-1] (1.0-2 Debian-Security:13/stable-security [amd64])\nConf package-{number} (1.0-2 Debian-Security:13/stable-security [amd64])"
        );
    }
    tree.tool(
        "apt-get -s -q -o Debug::NoLocking=true -o APT::Get::Show-User-Simulation-Note=false dist-upgrade",
        simulated,
    )
}

fn gpus(tree: Tree<'_>) -> Result<()> {
    let mut xml = "<?xml version=\"1.0\" ?>\n<nvidia_smi_log>\n<driver_version>570.1</driver_version>\n".to_owned();
    for number in 0..GPUS {
        let place = format!("0000:{number:02x}:00.0");
        for (file, text) in [("class", "0x030000"), ("vendor", "0x10de")] {
            tree.put(format!("sys/bus/pci/devices/{place}/{file}"), format!("{text}\n"))?;
        }
        let _ = writeln!(
            xml,
            "<gpu id=\"0000{place}\"><product_name>Example</product_name><fan_speed>30 %</fan_speed>\
             <fb_memory_usage><total>24576 MiB</total><used>1024 MiB</used></fb_memory_usage>\
             <utilization><gpu_util>12 %</gpu_util></utilization><temperature><gpu_temp>50 C</gpu_temp></temperature>"
        );
        for element in 0..250 {
            let _ = writeln!(xml, "<other_{element}>[N/A]</other_{element}>");
        }
        xml.push_str("</gpu>\n");
    }
    xml.push_str("</nvidia_smi_log>\n");
    tree.tool("nvidia-smi -q -x", xml)
}

fn pretty(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}
