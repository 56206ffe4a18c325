//! A terminal for a program to draw on: a pseudo terminal whose screen is kept
//! as text, with the moments at which things were seen on it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::time::sleep;

use crate::process::Running;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked; what is told are the moments when bytes came.
const LOOK: Duration = Duration::from_millis(1);

/// What ends a frame, of programs that tell the terminal so.
const END_OF_FRAME: &str = "?2026l";

/// A program on a terminal of its own, running until this is dropped.
pub(crate) struct Terminal {
    pub(crate) process: Running,
    started: Instant,
    keys: File,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen so far.
struct Seen {
    screen: Screen,
    /// When the screen first showed what was waited for.
    shown: Option<Instant>,
    /// How many frames ended, and when the last one did.
    frames: u64,
    ended: Option<Instant>,
}

impl Terminal {
    /// Starts a program on a terminal of that size. `wanted`: what its screen
    /// shows once it is there.
    pub(crate) fn start(
        mut command: Command,
        (columns, lines): (u16, u16),
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("a terminal")?;
        grantpt(&master).and_then(|()| unlockpt(&master)).context("opening the terminal")?;
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).context("the terminal's size")?;
        let name = ptsname(&master, Vec::new()).context("the terminal's name")?;
        let name = PathBuf::from(name.to_str().context("the terminal's name")?);
        let open = || open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).map(Stdio::from);
        let slave = [open(), open(), open()];
        let [stdin, stdout, stderr] = slave.map(|slave| slave.context("the program's end of the terminal"));
        command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor").env("LC_ALL", "C.UTF-8");
        command.stdin(stdin?).stdout(stdout?).stderr(stderr?);
        let keys = File::from(master);
        let output = keys.try_clone().context("the terminal once more")?;
        let screen = Screen::new(columns, lines);
        let seen = Arc::new(Mutex::new(Seen { screen, shown: None, frames: 0, ended: None }));
        let started = Instant::now();
        let process = Running::on_terminal(command)?;
        let shared = Arc::clone(&seen);
        // It ends with the program, whose end of the terminal is then closed.
        std::thread::spawn(move || read(output, &shared, wanted));
        Ok(Self { process, started, keys, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it took until the screen showed what was wanted.
    pub(crate) async fn shown(&mut self) -> Result<Duration> {
        loop {
            if let Some(shown) = self.seen().shown {
                return Ok(shown - self.started);
            }
            self.check()?;
            if self.started.elapsed() > PATIENCE {
                bail!("the screen does not show what it should:\n{}", self.seen().screen.text());
            }
            sleep(LOOK).await;
        }
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str) -> Result<()> {
        self.keys.write_all(key.as_bytes()).context("pressing a key")
    }

    /// Presses a key, and tells how long it took until a frame had been drawn.
    pub(crate) async fn press_until_drawn(&mut self, key: &str) -> Result<Duration> {
        let before = self.seen().frames;
        let pressed = Instant::now();
        self.press(key)?;
        loop {
            {
                let seen = self.seen();
                if let Some(ended) = seen.ended.filter(|_| seen.frames > before) {
                    return Ok(ended.saturating_duration_since(pressed));
                }
            }
            self.check()?;
            if pressed.elapsed() > PATIENCE {
                bail!("nothing is drawn after a key");
            }
            sleep(LOOK).await;
        }
    }

    fn check(&mut self) -> Result<()> {
        self.process.check().with_context(|| format!("its screen:\n{}", self.seen().screen.text()))
    }
}

fn read(mut output: File, seen: &Mutex<Seen>, wanted: impl Fn(&str) -> bool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = output.read(&mut bytes) {
        let now = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = seen.screen.take(&bytes[..length]);
        if ended > 0 {
            seen.frames += ended;
            seen.ended = Some(now);
        }
        if seen.shown.is_none() && wanted(&seen.screen.text()) {
            seen.shown = Some(now);
        }
    }
}

/// The screen as letters: enough of a terminal for programs that place the
/// cursor and write, which is what ratatui does.
struct Screen {
    columns: usize,
    cells: Vec<char>,
    at: usize,
    /// What is not whole yet: the beginning of a sequence, or of a letter.
    rest: Vec<u8>,
}

impl Screen {
    fn new(columns: u16, lines: u16) -> Self {
        let (columns, lines) = (usize::from(columns), usize::from(lines));
        Self { columns, cells: vec![' '; columns * lines], at: 0, rest: Vec::new() }
    }

    /// Takes what was written; returns how many frames ended with it.
    fn take(&mut self, bytes: &[u8]) -> u64 {
        self.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.rest);
        let whole = match std::str::from_utf8(&all) {
            Ok(_) => all.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8_lossy(&all[..whole]).into_owned();
        let mut frames = 0;
        let mut left = text.as_str();
        while let Some(first) = left.chars().next() {
            let Some(sequence) = left.strip_prefix("\x1b[") else {
                self.put(first);
                left = &left[first.len_utf8()..];
                continue;
            };
            let Some(end) = sequence.find(|letter: char| ('@'..='~').contains(&letter)) else { break };
            self.follow(&sequence[..end], sequence.as_bytes()[end]);
            frames += u64::from(&sequence[..=end] == END_OF_FRAME);
            left = &sequence[end + 1..];
        }
        self.rest = left.as_bytes().iter().chain(&all[whole..]).copied().collect();
        frames
    }

    fn put(&mut self, letter: char) {
        match letter {
            '\r' => self.at -= self.at % self.columns,
            '\n' => self.at += self.columns,
            letter if letter.is_control() => {}
            letter => {
                if let Some(cell) = self.cells.get_mut(self.at) {
                    *cell = letter;
                }
                self.at += 1;
            }
        }
    }

    fn follow(&mut self, parameters: &str, letter: u8) {
        let mut numbers = parameters.split(';').map(|number| number.parse::<usize>().unwrap_or(1).max(1));
        let (first, second) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
        match letter {
            b'H' | b'f' => self.at = (first - 1) * self.columns + (second - 1),
            b'C' => self.at += first,
            b'J' => self.cells.fill(' '),
            _ => {}
        }
    }

    fn text(&self) -> String {
        let lines = self.cells.chunks(self.columns.max(1));
        lines.map(|line| line.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_where_it_was_put() {
        let mut screen = Screen::new(12, 3);
        assert_eq!(screen.take(b"\x1b[?2026h\x1b[2J\x1b[2;3Hab\x1b[38;5;2mc\x1b[?20"), 0);
        assert_eq!(screen.take(b"26l\x1b[1;1H\xe2\x97"), 1, "a sequence in two pieces is one");
        screen.take(b"\x8f\x1b[3;1Hx\x1b[4Cy");
        assert_eq!(screen.text(), "\u{25cf}\n  abc\nx    y\n");
    }
}
