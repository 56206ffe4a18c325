//! A disk that is small enough to be filled: a tmpfs in a mount namespace of
//! its own, so that nothing else sees it and nothing has to be cleaned up.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// The disk, for as long as this lives.
pub(crate) struct SmallDisk {
    holder: Child,
    _end: Option<ChildStdin>,
    folder: TempDir,
}

impl SmallDisk {
    /// A disk of so many kilobytes, or the reason why there can be none.
    pub(crate) fn new(kilobytes: u32) -> Result<Self, String> {
        let folder = TempDir::new().expect("a temporary folder");
        let script = format!("mount -t tmpfs -o size={kilobytes}k tmpfs \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare does not run: {error}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("a line or the end");
        if line.trim() != "mounted" {
            let _ = holder.kill();
            let output = holder.wait_with_output().expect("it ends");
            return Err(format!("no private mount: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let end = holder.stdin.take();
        Ok(Self { holder, _end: end, folder })
    }

    /// Where processes that run on it find it.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where everybody else does.
    pub(crate) fn seen_from_outside(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref().strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(path)
    }

    /// A command that runs where the disk is.
    pub(crate) fn on_it(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Takes all the space there is.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let block = [0x5a; 4096];
        while ballast.write_all(&block).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast goes");
    }

    fn ballast(&self) -> PathBuf {
        self.seen_from_outside(self.path().join("ballast"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
