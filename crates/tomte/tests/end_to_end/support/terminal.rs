//! A real terminal: a tmux of its own, whose screen is read and whose keys are
//! pressed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::LIMIT;

/// A terminal with one program in it. It goes with everything in it when it is
/// dropped.
pub(crate) struct Terminal {
    socket: PathBuf,
    /// Something was written onto the screen.
    written: Receiver<()>,
    _folder: tempfile::TempDir,
}

impl Terminal {
    /// A terminal of that size in which a shell runs `script`.
    pub(crate) fn open(columns: u16, lines: u16, script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("tmux");
        let pipe = folder.path().join("written");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
        let terminal = |args: &[&str]| {
            let output =
                Command::new("tmux").arg("-S").arg(&socket).args(["-f", "/dev/null", "-u"]).args(args).output();
            let output = output.expect("tmux runs; scripts/test-setup.sh installs it");
            assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        // The shell waits until its screen is watched.
        let gate = format!("read gate; {script}; read end");
        terminal(&["new-session", "-d", "-x", &columns, "-y", &lines, "sh", "-c", &gate]);
        terminal(&["pipe-pane", &format!("cat > '{}'", pipe.display())]);
        let (sender, written) = channel();
        let opened = File::open(&pipe).expect("tmux writes to it");
        std::thread::spawn(move || watch(opened, &sender));
        terminal(&["send-keys", "Enter"]);
        Self { socket, written, _folder: folder }
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().expect("tmux runs");
        // A key that was never pressed would be waited for in vain.
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen as text.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows what is wanted.
    pub(crate) fn until<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            let screen = self.screen();
            if let Some(found) = find(&screen) {
                return found;
            }
            match self.written.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time on the screen:\n{screen}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the terminal ended without {what}:\n{screen}"),
            }
        }
    }

    /// Waits until a text is on the screen, and returns its line.
    pub(crate) fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.lines().find(|line| line.contains(text)).map(str::to_owned))
    }

    /// Presses keys, by tmux's names.
    pub(crate) fn press(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    /// Another size.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Whether it is as a shell expects it: the usual screen, with a cursor,
    /// without listening to the mouse.
    pub(crate) fn is_as_before(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}"]).trim() == "001"
    }
}

/// Tells whenever something was written.
fn watch(mut pipe: File, sender: &std::sync::mpsc::Sender<()>) {
    let mut bytes = [0; 4096];
    while matches!(pipe.read(&mut bytes), Ok(1..)) {
        if sender.send(()).is_err() {
            return;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// A path in a shell's script.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
