//! The terminal: taken over, drawn on, and given back as it was, whatever
//! ends us.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stdout};
use std::sync::Once;

use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::TopError;
use crate::app::App;
use crate::render::render;

/// Columns and lines.
pub(super) fn size() -> Result<(u16, u16), TopError> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    crossterm::terminal::size().map_err(TopError::Terminal)
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over. It is given back when this is dropped, and
    /// before a panic is told.
    pub(super) fn enter(mouse: bool) -> Result<Self, TopError> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let entered = take_over(mouse).and_then(|()| {
            // Frames are large: one write each, so that none is seen half.
            let writer = BufWriter::with_capacity(64 * 1024, stdout());
            Ok(Self { terminal: Terminal::new(CrosstermBackend::new(writer))? })
        });
        entered.map_err(|error| {
            restore();
            TopError::Terminal(error)
        })
    }

    /// Draws a frame; only cells that differ are sent.
    pub(super) fn draw(&mut self, app: &App) -> Result<(), TopError> {
        let drawn = (|| {
            queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
            self.terminal.draw(|frame| render(app, frame))?;
            execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
        })();
        drawn.map_err(TopError::Terminal)
    }

    /// Rings.
    pub(super) fn ring(&mut self) -> Result<(), TopError> {
        let writer = self.terminal.backend_mut();
        writer.write_all(b"\x07").and_then(|()| Write::flush(writer)).map_err(TopError::Terminal)
    }

    /// Listens to the mouse, or leaves it to the terminal.
    pub(super) fn listen(&mut self, mouse: bool) -> Result<(), TopError> {
        let writer = self.terminal.backend_mut();
        let done = if mouse { execute!(writer, EnableMouseCapture) } else { execute!(writer, DisableMouseCapture) };
        done.map_err(TopError::Terminal)
    }

    /// Gives the terminal back and stops, until somebody says `fg`.
    pub(super) fn suspend(&mut self, mouse: bool) -> Result<(), TopError> {
        restore();
        // Where this is forbidden we simply go on.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
        take_over(mouse).and_then(|()| self.terminal.clear()).map_err(TopError::Terminal)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take_over(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse { execute!(stdout(), EnableMouseCapture) } else { Ok(()) }
}

/// Gives the terminal back as it was. Can be done twice.
fn restore() {
    // Whatever of it fails, the rest is still tried.
    let _ = execute!(stdout(), EndSynchronizedUpdate, DisableMouseCapture, DisableBracketedPaste);
    let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    /// Set where a test is the program in the terminal.
    const INSIDE: &str = "TOMTE_TUI_TEST_IN_A_TERMINAL";

    /// This test once more, as the program in a terminal; keys are pressed once
    /// it wants them. Returns the screen, and the state that the terminal was
    /// left in.
    fn in_a_terminal(name: &str, keys: Option<&str>) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let tmux = |args: &[&str]| {
            let socket = folder.path().join("tmux");
            let output = Command::new("tmux").arg("-S").arg(socket).args(["-f", "/dev/null"]).args(args).output();
            let output = output.expect("tmux runs; scripts/test-setup.sh installs it");
            String::from_utf8(output.stdout).unwrap()
        };
        let test = std::env::current_exe().unwrap();
        let name = format!("shell::terminal::tests::{name}");
        let script = format!(
            "{INSIDE}=1 '{}' --exact {name} --nocapture; echo over; tmux wait-for -S over; read end",
            test.display()
        );
        tmux(&["new-session", "-d", "-x", "100", "-y", "50", "sh", "-c", &script]);
        if let Some(keys) = keys {
            tmux(&["wait-for", "keys"]);
            tmux(&["send-keys", keys]);
        }
        tmux(&["wait-for", "over"]);
        let state = tmux(&["display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}"]);
        let screen = tmux(&["capture-pane", "-p"]);
        tmux(&["kill-server"]);
        (screen, state.trim().to_owned())
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(INSIDE).is_some() {
            let _screen = Screen::enter(true).unwrap();
            panic!("as it should");
        }
        let (screen, state) = in_a_terminal("a_panic_gives_the_terminal_back", None);
        assert!(screen.contains("as it should") && screen.contains("over"), "the panic can be read:\n{screen}");
        assert_eq!(state, "001", "the usual screen, no mouse, a cursor");
    }

    #[test]
    fn a_key_that_comes_together_with_another_size_is_not_lost() {
        if std::env::var_os(INSIDE).is_some() {
            return press_and_resize();
        }
        let (screen, _) = in_a_terminal("a_key_that_comes_together_with_another_size_is_not_lost", Some("x"));
        assert!(screen.contains("both came"), "{screen}");
    }

    /// Has a change of size and a key wait for each other, in that order, before
    /// either is looked at.
    fn press_and_resize() {
        use futures_util::StreamExt;
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::process::{Signal, getpid, kill_process};

        let screen = Screen::enter(false).unwrap();
        // Now it listens to both.
        crossterm::event::poll(std::time::Duration::ZERO).unwrap();
        kill_process(getpid(), Signal::WINCH).unwrap();
        Command::new("tmux").args(["wait-for", "-S", "keys"]).status().unwrap();
        let stdin = io::stdin();
        poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let came = runtime.block_on(async {
            let mut keys = crossterm::event::EventStream::new();
            let mut came = Vec::new();
            while came.len() < 2 {
                let limit = tokio::time::sleep(std::time::Duration::from_secs(20));
                tokio::select! {
                    event = keys.next() => came.push(event.unwrap().unwrap()),
                    () = limit => break,
                }
            }
            came
        });
        drop(screen);
        let keys = came.iter().filter(|event| matches!(event, crossterm::event::Event::Key(_)));
        assert_eq!((keys.count(), came.len()), (1, 2), "{came:?}");
        writeln!(stdout(), "both came").unwrap();
    }
}
