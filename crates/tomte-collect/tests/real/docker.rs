//! A Docker of its own, in a network namespace of its own, with images made
//! from busybox: nothing is fetched, and nothing of this machine's is touched.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tomte_collect::{Root, Settings};

use crate::{Running, collector, find, missing, run, skipped, text, until};

struct Docker {
    folder: tempfile::TempDir,
    engine: Option<Running>,
}

impl Docker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let log = fs::File::create(at("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--ip-forward=false", "--storage-driver=vfs"]);
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        command.arg("-p").arg(at("pid")).arg("-H").arg(format!("unix://{}", at("docker.sock").display()));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let engine = Some(Running::start(&mut command));
        let docker = Self { folder, engine };
        let end = std::time::Instant::now() + crate::PATIENCE;
        while !docker.command(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success() {
            let log = || fs::read_to_string(docker.folder.path().join("log")).unwrap_or_default();
            assert!(std::time::Instant::now() < end, "dockerd did not start: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        docker
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.folder.path().join("config")).args(arguments);
        command
    }

    /// An image of busybox and its applets.
    fn import(&self) {
        let top = self.folder.path().join("image");
        fs::create_dir_all(top.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| fs::metadata(path).is_ok()).unwrap();
        fs::copy(busybox, top.join("bin/busybox")).unwrap();
        for applet in ["sh", "sleep", "head", "tail", "cat", "true", "false", "echo"] {
            std::os::unix::fs::symlink("busybox", top.join("bin").join(applet)).unwrap();
        }
        let archive = self.folder.path().join("image.tar");
        run(Command::new("tar").arg("-C").arg(&top).arg("-cf").arg(&archive).arg("."));
        run(self.command(&["import", "-c", "ENV PATH=/bin"]).arg(archive).arg("tomte-test:1"));
    }

    fn run(&self, name: &str, options: &[&str], script: &str) {
        let mut command = self.command(&["run", "-d", "--network=none", "--name", name]);
        run(command.args(options).args(["tomte-test:1", "sh", "-c", script]));
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Containers first: their shims would outlive the engine.
        let all = self.command(&["ps", "-aq"]).output().map(|output| output.stdout).unwrap_or_default();
        let all = String::from_utf8_lossy(&all).into_owned();
        let ids: Vec<_> = all.split_whitespace().collect();
        if !ids.is_empty() {
            let _ = self.command(&["rm", "-f"]).args(ids).stdout(Stdio::null()).status();
        }
        if let Ok(pid) = fs::read_to_string(self.folder.path().join("pid")) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
        self.engine.take();
    }
}

#[test]
fn an_engine_that_runs_containers() {
    if let Some(why) = missing(&["dockerd", "docker", "containerd", "busybox", "unshare", "tar"]) {
        return skipped("an_engine_that_runs_containers", &why);
    }
    if !fs::metadata("/sys/fs/cgroup").is_ok_and(|told| told.is_dir())
        || fs::read_dir("/sys/fs/cgroup").unwrap().count() == 0
    {
        return skipped("an_engine_that_runs_containers", "no control groups here");
    }
    let docker = Docker::start();
    docker.import();
    let sleep = "trap exit TERM; while :; do sleep 0.1; done";
    let check = ["--health-interval=1s", "--health-retries=1", "--health-timeout=5s"];
    docker.run("good", &[&check[..], &["--health-cmd=true", "--memory=64m"]].concat(), sleep);
    docker.run("ill", &[&check[..], &["--health-cmd=echo no database; exit 1"]].concat(), sleep);
    docker.run("crash", &["--restart=always"], "exit 3");
    docker.run("broken", &[], "exit 4");
    docker.run("hungry", &["--memory=16m", "--memory-swap=16m"], "head -c 100000000 /dev/zero | tail");
    docker.run("halted", &["--restart=unless-stopped", "--stop-timeout=1"], sleep);
    let labels =
        ["project=shop", "service=web", "container-number=2"].map(|label| format!("com.docker.compose.{label}"));
    docker.run("shop-web-2", &["-l", &labels[0], "-l", &labels[1], "-l", &labels[2]], sleep);
    run(&mut docker.command(&["stop", "halted"]));

    let mut settings = Settings::default();
    settings.container.sockets = vec![docker.socket()];
    let mut containers = collector("container", &Root::system(), &settings);
    let containers = containers.as_mut();

    let ill = until("unhealthy container", containers, |scopes| {
        find(scopes, "container:ill").filter(|facet| facet.reading("unhealthy") == Some(1.0))
    });
    assert_eq!(text(&ill, "health_output"), "no database");
    let good = until("healthy container", containers, |scopes| {
        find(scopes, "container:good")
            .filter(|facet| text(facet, "health") == "healthy" && facet.reading("cpu_ratio").is_some())
    });
    assert_eq!((good.reading("unhealthy"), good.reading("memory_limit_bytes")), (Some(0.0), Some(67_108_864.0)));
    assert!(good.reading("memory_bytes").is_some_and(|bytes| bytes > 0.0 && bytes < 67_108_864.0), "{good:?}");
    assert!(good.reading("tasks").is_some_and(|tasks| (1.0..20.0).contains(&tasks)), "{good:?}");
    let crash = until("container that crashes", containers, |scopes| {
        find(scopes, "container:crash").filter(|facet| facet.reading("recent_restarts").is_some_and(|n| n >= 1.0))
    });
    assert_eq!((crash.reading("exit_code"), text(&crash, "restart_policy").as_str()), (Some(3.0), "always"));
    let broken = until("container that failed", containers, |scopes| {
        find(scopes, "container:broken").filter(|facet| facet.reading("failed") == Some(1.0))
    });
    assert_eq!((text(&broken, "exit_status").as_str(), text(&broken, "stopped_by_user").as_str()), ("4", "no"));
    let hungry = until("container out of memory", containers, |scopes| {
        find(scopes, "container:hungry").filter(|facet| facet.reading("oom_killed") == Some(1.0))
    });
    assert_eq!(text(&hungry, "state"), "exited", "{hungry:?}");
    let halted = until("container that was stopped", containers, |scopes| {
        find(scopes, "container:halted").filter(|facet| facet.reading("running") == Some(0.0))
    });
    assert_eq!((text(&halted, "stopped_by_user").as_str(), halted.reading("failed")), ("yes", Some(0.0)), "{halted:?}");
    let web = until("container of compose", containers, |scopes| find(scopes, "container:shop/web/2"));
    assert_eq!((text(&web, "project").as_str(), text(&web, "service").as_str()), ("shop", "web"));

    let mut disk = collector("container_disk", &Root::system(), &settings);
    let usage = until("disk use", disk.as_mut(), |scopes| find(scopes, "container_engine:docker"));
    assert!(usage.reading("images_bytes").is_some_and(|bytes| bytes > 100_000.0), "{usage:?}");
    assert_eq!((usage.reading("images"), usage.reading("volumes")), (Some(1.0), Some(0.0)));
}
