//! Against a web server on loopback that speaks TLS and answers as a Proxmox VE
//! would.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tomte_collect::{COLLECTORS, Settings};
use tomte_model::{Moment, Outcome, Scope, Timestamp};

use super::*;

struct Fake {
    address: SocketAddr,
    fingerprint: String,
    pem: String,
}

/// Serves until the test ends. It wants the token, and answers each path with
/// what `answer` says.
fn serve(answer: fn(&str) -> (u16, String)) -> Fake {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream.unwrap());
                let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match tls.read(&mut buffer) {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                let known = request.to_lowercase().contains("authorization: pveapitoken=tomte@pve!agent=secret\r\n");
                let (status, body) = if known { answer(path) } else { (401, String::new()) };
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(body.as_bytes()));
                tls.conn.send_close_notify();
                let _ = tls.flush();
            });
        }
    });
    let fingerprint = digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>();
    Fake { address, fingerprint: fingerprint.join(":"), pem: made.cert.pem() }
}

/// A cluster of two nodes, one of which is away, with a few guests.
fn cluster(path: &str) -> (u16, String) {
    let path = path.strip_prefix("/api2/json").unwrap();
    let authority = format!(r#"[{{"filename":"pve-root-ca.pem","fingerprint":"{}"}}]"#, ["AB"; 32].join(":"));
    let data = match path.split('?').next().unwrap() {
        "/cluster/status" => {
            r#"[{"type":"cluster","name":"home","quorate":0,"nodes":2,"id":"cluster"},
            {"type":"node","name":"pve1","online":1,"local":1,"ip":"192.0.2.1","id":"node/pve1"},
            {"type":"node","name":"pve2","online":0,"local":0,"ip":"192.0.2.2","id":"node/pve2"}]"#
        }
        "/cluster/resources" => {
            r#"[{"type":"node","node":"pve1","status":"online","cpu":0.25,"maxcpu":8,"mem":4000,"maxmem":16000,"uptime":90},
            {"type":"storage","storage":"local","node":"pve1","status":"available","plugintype":"dir","content":"iso,backup",
             "shared":0,"disk":90,"maxdisk":100},
            {"type":"storage","storage":"nas","node":"pve1","status":"unknown","plugintype":"nfs","content":"backup","shared":1},
            {"type":"lxc","vmid":101,"name":"dns","node":"pve1","status":"running","template":0,"cpu":0.5,"maxcpu":2,
             "mem":900,"maxmem":1000,"disk":50,"maxdisk":100,"uptime":60,"netin":1000,"netout":0,"diskread":0,"diskwrite":0,
             "tags":"network;web"},
            {"type":"qemu","vmid":110,"name":"ha","node":"pve1","status":"stopped","template":0,"maxcpu":2,"maxmem":1000},
            {"type":"qemu","vmid":190,"name":"old","node":"pve1","status":"stopped","template":0,"maxcpu":2,"maxmem":1000,"tags":"archived"},
            {"type":"qemu","vmid":900,"name":"mould","node":"pve1","status":"stopped","template":1,"maxcpu":2,"maxmem":1000}]"#
        }
        "/nodes/pve1/certificates/info" => &authority,
        "/nodes/pve1/status" => {
            r#"{"pveversion":"pve-manager/9.1.1/42db4a6cf33dac83","kversion":"Linux 6.17.2-1-pve #1 SMP"}"#
        }
        "/nodes/pve1/lxc" => r#"[{"vmid":"101","pressurecpusome":"12.50","pressureiosome":"0.00"}]"#,
        "/nodes/pve1/qemu" => r#"[{"vmid":110,"pressurecpusome":0.5}]"#,
        "/nodes/pve1/lxc/101/config" => {
            r#"{"onboot":1,"ostype":"debian","net0":"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth",
            "rootfs":"local:vm-101-disk-0,size=8G","swap":512,"description":"Names for all\nmore"}"#
        }
        "/nodes/pve1/lxc/101/interfaces" => {
            r#"[{"name":"lo","inet":"127.0.0.1/8"},{"name":"eth0","hwaddr":"bc:24:11:00:00:01","inet":"192.0.2.53/24","inet6":"fe80::1/64"}]"#
        }
        "/nodes/pve1/qemu/110/config" | "/nodes/pve1/qemu/190/config" => {
            r#"{"onboot":1,"agent":"1,fstrim_cloned_disks=1"}"#
        }
        "/nodes/pve1/qemu/900/config" => r#"{"onboot":1,"template":1}"#,
        "/cluster/backup" => {
            r#"[{"id":"b","enabled":1,"all":1,"exclude":"190","schedule":"21:00","storage":"local","next-run":1800003600}]"#
        }
        "/nodes/pve1/storage/local/content" => {
            r#"[{"volid":"local:backup/vzdump-lxc-101-a.tar.zst","vmid":101,"ctime":1799900000,"size":500,"format":"tar.zst"},
            {"volid":"local:backup/vzdump-lxc-101-b.tar.zst","vmid":101,"ctime":1799990000,"size":600,"format":"tar.zst",
             "verification":{"state":"failed","upid":"x"}}]"#
        }
        "/nodes/pve1/tasks" => {
            r#"[{"upid":"1","type":"vzdump","id":"101","user":"root@pam","starttime":1799995000,"endtime":1799995060,"status":"job errors"},
            {"upid":"2","type":"qmstart","id":"110","user":"root@pam","starttime":1799995000,"endtime":1799995001,"status":"start failed"},
            {"upid":"3","type":"qmstart","id":"110","user":"root@pam","starttime":1799996000,"endtime":1799996001,"status":"OK"}]"#
        }
        "/nodes/pve1/replication" => {
            r#"[{"id":"101-0","guest":101,"target":"pve2","fail_count":3,"error":"no route","last_sync":1799990000,"next_sync":1800000060,"schedule":"*/15"}]"#
        }
        _ => return (500, String::new()),
    };
    (200, format!("{{\"data\":{data}}}"))
}

fn settings(fake: &Fake, folder: &Path, trust: &str) -> Settings {
    let token = folder.join("token");
    std::fs::write(&token, "tomte@pve!agent=secret\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!("url = \"https://{}\"\ntoken_file = {token:?}\n{trust}\n", fake.address);
    Settings { proxmox: toml::from_str(&text).unwrap(), ..Settings::default() }
}

fn collect(name: &str, folder: &Path, settings: &Settings) -> Vec<Scope> {
    let root = Root::new(folder).with_api(Arc::new(HttpsApi));
    let def = COLLECTORS.iter().find(|def| def.name == name).unwrap();
    let mut collector = (def.make)(&root, settings);
    let now = Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: 5_000 };
    collector.collect(now)
}

fn facet<'a>(scopes: &'a [Scope], key: &str, name: &str) -> &'a tomte_model::Facet {
    let mut facets = scopes.iter().flat_map(|scope| &scope.facets);
    facets
        .find(|facet| facet.resource.to_string() == key && facet.name == name)
        .unwrap_or_else(|| panic!("{key}: {scopes:#?}"))
}

#[test]
fn a_cluster_is_read_over_tls_by_its_fingerprint() {
    let fake = serve(cluster);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&fake, folder.path(), &format!("fingerprint = \"{}\"", fake.fingerprint));
    let scopes = collect("proxmox", folder.path(), &settings);
    assert!(scopes.iter().all(|scope| scope.outcome.is_complete()), "{scopes:#?}");
    let home = facet(&scopes, "cluster:home", "main");
    assert_eq!((home.reading("quorate"), home.reading("online_nodes")), (Some(0.0), Some(1.0)));
    assert_eq!(home.attribute("offline").unwrap().to_string(), "pve2");
    let node = facet(&scopes, "node:pve1", "main");
    assert_eq!(node.attribute("version").unwrap().to_string(), "9.1.1");
    assert_eq!((node.reading("guests"), node.reading("running_guests")), (Some(3.0), Some(1.0)));
    assert_eq!(facet(&scopes, "node:pve2", "main").reading("online"), Some(0.0));
    assert_eq!(facet(&scopes, "storage:pve1/local", "main").reading("used_ratio"), Some(0.9));
    assert_eq!(facet(&scopes, "storage:nas", "main").reading("active"), Some(0.0));
    let dns = facet(&scopes, "guest:101", "runtime");
    assert_eq!((dns.reading("cpu_ratio"), dns.reading("memory_used_ratio")), (Some(1.0), Some(0.9)));
    assert_eq!(dns.reading("pressure_cpu_some_ratio"), Some(0.125));

    let scopes = collect("proxmox_guest", folder.path(), &settings);
    assert!(scopes.iter().all(|scope| scope.outcome.is_complete()), "{scopes:#?}");
    let dns = facet(&scopes, "guest:101", "detail");
    assert_eq!(dns.attribute("addresses").unwrap().to_string(), "192.0.2.53");
    assert_eq!(dns.attribute("disks").unwrap().to_string(), "local:vm-101-disk-0 (8G)");
    assert_eq!(dns.reading("down"), Some(0.0));
    assert_eq!(facet(&scopes, "guest:110", "detail").reading("down"), Some(1.0), "it ought to run and does not");
    for quiet in ["guest:190", "guest:900"] {
        assert_eq!(facet(&scopes, quiet, "detail").reading("down"), None, "{quiet} raises no alarm");
    }
    let backup = facet(&scopes, "backup:guest/101", "main");
    assert_eq!((backup.reading("age_seconds"), backup.reading("failed")), (Some(10_000.0), Some(1.0)));
    assert_eq!((backup.reading("backups"), backup.reading("until_next_run_seconds")), (Some(2.0), Some(3_600.0)));
    assert_eq!(facet(&scopes, "backup:guest/110", "main").reading("never"), Some(1.0));
    assert!(!scopes[1].facets.iter().any(|facet| matches!(facet.resource.name.as_str(), "guest/190" | "guest/900")));
    let tasks = facet(&scopes, "node:pve1", "tasks");
    assert_eq!(tasks.reading("failed_tasks"), Some(1.0), "what went well since is mended");
    assert_eq!(tasks.attribute("last_failed").unwrap().to_string(), "vzdump 101: job errors");
    assert_eq!(facet(&scopes, "replication:101-0", "main").reading("failures"), Some(3.0));
}

#[test]
fn from_elsewhere_all_of_it_belongs_to_the_cluster() {
    let fake = serve(cluster);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&fake, folder.path(), &format!("fingerprint = \"{}\"", fake.fingerprint));
    let root = Root::new(folder.path()).with_api(Arc::new(HttpsApi));
    let now = Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: 5_000 };
    let host = tomte_model::HostId::from_parts(1, 1);
    root.seat().decide(&["AB"; 32].join(":"), tomte_collect::Standing::Ours(host));
    for name in ["proxmox", "proxmox_guest"] {
        let def = COLLECTORS.iter().find(|def| def.name == name).unwrap();
        let mut collector = (def.make)(&root, &settings);
        let seen = collector.collect(now);
        let shared = collector.shared().unwrap();
        let facets = || seen.iter().flat_map(|scope| &scope.facets);
        assert!(facets().count() > 0 && facets().all(|facet| shared.elsewhere.contains(&facet.resource)), "{name}");
        let (of, told) = shared.cluster.unwrap();
        let count = |scopes: &[Scope]| scopes.iter().map(|scope| scope.facets.len()).sum::<usize>();
        assert_eq!((of, count(&told)), (host, count(&seen)), "{name}");
    }
    let membership = root.seat().membership().unwrap();
    assert_eq!((membership.node.as_str(), membership.quorate), ("", false));
}

#[test]
fn whom_to_trust_is_up_to_the_owner() {
    let fake = serve(cluster);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &fake.pem).unwrap();
    let outcome =
        |trust: &str| collect("proxmox", folder.path(), &settings(&fake, folder.path(), trust))[0].outcome.clone();
    assert!(outcome(&format!("ca_file = {ca:?}")).is_complete());
    let other = ["00"; 32].join(":");
    for stranger in [String::new(), format!("fingerprint = \"{other}\"")] {
        let outcome = outcome(&stranger);
        assert!(matches!(&outcome, Outcome::Denied { cure, .. } if cure.contains("fingerprint")), "{outcome:?}");
    }
    std::fs::write(&ca, "no certificate").unwrap();
    let outcome = outcome(&format!("ca_file = {ca:?}"));
    assert!(matches!(&outcome, Outcome::Denied { error, .. } if error.contains("ca.pem")), "{outcome:?}");
}

#[test]
fn what_is_refused_is_told_with_its_cure() {
    let forbidden = serve(|_| (403, String::new()));
    let folder = tempfile::tempdir().unwrap();
    let with = |fake: &Fake| settings(fake, folder.path(), &format!("fingerprint = \"{}\"", fake.fingerprint));
    let outcome = collect("proxmox", folder.path(), &with(&forbidden))[0].outcome.clone();
    assert!(matches!(&outcome, Outcome::Denied { cure, .. } if cure.contains("PVEAuditor")), "{outcome:?}");
    let fake = serve(cluster);
    let right = with(&fake);
    std::fs::write(folder.path().join("token"), "tomte@pve!agent=wrong").unwrap();
    let outcome = collect("proxmox", folder.path(), &right)[0].outcome.clone();
    assert!(matches!(&outcome, Outcome::Denied { cure, .. } if cure.contains("token")), "{outcome:?}");
    let away = serve(|_| (595, String::new()));
    let outcome = collect("proxmox", folder.path(), &with(&away))[0].outcome.clone();
    assert!(matches!(outcome, Outcome::Failed { .. } | Outcome::Denied { .. }));
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let outcome = collect("proxmox", folder.path(), &right)[0].outcome.clone();
    assert!(matches!(&outcome, Outcome::Denied { error, .. } if error.contains("not there")), "{outcome:?}");
}

#[test]
fn nobody_answers_and_somebody_talks_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = ApiCall {
        base: format!("https://{}", listener.local_addr().unwrap()),
        path: "/".to_owned(),
        authorization: "x".to_owned(),
        trust: ApiTrust::Fingerprint([0; 32]),
        limit: Duration::from_millis(1),
        most: 10,
    };
    let error = HttpsApi.get(&silent).unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    let fake = serve(|_| (200, "x".repeat(100_000)));
    let hash = <[u8; 32]>::try_from(
        fake.fingerprint.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<_>>(),
    )
    .unwrap();
    let call = ApiCall {
        base: format!("https://{}", fake.address),
        authorization: "PVEAPIToken=tomte@pve!agent=secret".to_owned(),
        trust: ApiTrust::Fingerprint(hash),
        limit: Duration::from_secs(20),
        ..silent
    };
    assert!(matches!(HttpsApi.get(&call), Err(Refusal::Failed(_))));
    assert_eq!(HttpsApi.get(&ApiCall { most: 1 << 20, ..call }).unwrap().body.len(), 100_000);
}
