#![allow(clippy::unwrap_used, clippy::print_stderr)]
use std::fs;
use std::thread;

use tomte_model::HostId;

use super::*;
use crate::command::client::{self, NotRun};

const LIST: &str = "[[commands.available]]\ntrigger = \"echo\"\ncommand = [\"/bin/echo\", \"{what}\"]\n\
                    params = [{ name = \"what\", regex = \"[a-z]+\" }]\n";

struct Host {
    dir: tempfile::TempDir,
    served: Option<thread::JoinHandle<()>>,
}

/// A list must be root's: without root there is nothing to be run.
fn host() -> Option<Host> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can own a list of commands");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("commands.toml"), LIST).unwrap();
    let helper = CommandHelper::new(dir.path().join("commands.toml"), Allowed(0));
    let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
    let served = thread::spawn(move || helper.serve(&listener, Some(Duration::from_millis(200))).unwrap());
    Some(Host { dir, served: Some(served) })
}

impl Host {
    fn request(&self, trigger: &str, argument: &str) -> Run {
        let host = HostId::from_parts(1, 2);
        let commands = Commands::load(&self.dir.path().join("commands.toml")).unwrap().unwrap();
        let arguments = vec![argument.to_owned()];
        let plan_hash = commands.allowed(host, trigger, &arguments).map_or(String::new(), |(_, it)| it.plan.hash);
        Run { host, trigger: trigger.to_owned(), arguments, plan_hash }
    }

    fn ask(&self, request: &Run) -> Result<tomte_model::ActionResult, NotRun> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client::run(&self.dir.path().join("sock"), request, Duration::from_secs(60)))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let ended = self.served.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

#[test]
fn an_entry_of_the_list_is_run_and_nothing_else() {
    let Some(host) = host() else { return };
    let result = host.ask(&host.request("echo", "hello")).unwrap();
    assert_eq!((result.exit_code, result.output.as_str()), (Some(0), "hello\n"));
    for bad in [
        host.request("sh", "id"),
        host.request("echo", "NO"),
        Run { plan_hash: "0".repeat(64), ..host.request("echo", "hello") },
        Run { host: HostId::from_parts(9, 9), ..host.request("echo", "hello") },
    ] {
        let answer = host.ask(&bad);
        assert!(matches!(answer, Err(NotRun::Refused(Refusal::Invalid(_)))), "{answer:?}");
    }
}

#[test]
fn a_list_that_changed_since_or_is_not_roots_any_more_runs_nothing() {
    let Some(host) = host() else { return };
    let approved = host.request("echo", "hello");
    let path = host.dir.path().join("commands.toml");
    fs::write(&path, LIST.replace("/bin/echo", "/bin/rm")).unwrap();
    let Err(NotRun::Refused(Refusal::Invalid(why))) = host.ask(&approved) else { panic!("it was run") };
    assert!(why.contains("otherwise now"), "{why}");
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    let Err(NotRun::Refused(Refusal::Failed(why))) = host.ask(&approved) else { panic!("it was run") };
    assert!(why.contains("does not belong to root"), "{why}");
    fs::remove_file(&path).unwrap();
    let Err(NotRun::Refused(Refusal::Invalid(why))) = host.ask(&approved) else { panic!("it was run") };
    assert!(why.contains("allows no commands"), "{why}");
}

#[test]
fn without_a_helper_there_is_a_cure_and_a_broken_one_leaves_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request =
        Run { host: HostId::from_parts(1, 2), trigger: "x".into(), arguments: Vec::new(), plan_hash: String::new() };
    let ask = || runtime.block_on(client::run(&socket, &request, Duration::from_secs(60)));
    let Err(NotRun::Refused(Refusal::Denied { cure, .. })) = ask() else { panic!("nobody listens") };
    assert!(cure.contains("tomte-agent-commands.socket"));
    let listener = UnixListener::bind(&socket).unwrap();
    let breaks = thread::spawn(move || drop(listener.accept().unwrap()));
    assert!(matches!(ask(), Err(NotRun::Unknown(_))));
    breaks.join().unwrap();
}

#[test]
fn hostile_bytes_are_refused() {
    let Some(host) = host() else { return };
    for bytes in [&b""[..], b"\0\0\0\x02{}", &[0xff; 64], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = UnixStream::connect(host.dir.path().join("sock")).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("ran"), "{said:?}");
    }
    assert!(host.ask(&host.request("echo", "still")).is_ok());
}
