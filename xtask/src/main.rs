//! What the project does to itself. Start at [`docs`] for the references that
//! are generated, at [`repo`] for what a commit may not contain.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

mod docs;
mod repo;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  docs           write the generated references anew
  docs --check   fail when one of them is not what would be written
  check-repo     fail when the repository holds what it should not";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["docs"] => docs::write(&root()).map(|written| {
            for path in written {
                println!("wrote {path}");
            }
            Vec::new()
        }),
        ["docs", "--check"] => docs::stale(&root()),
        ["check-repo"] => repo::check(&root()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("{complaint}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository, wherever it was cloned to.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}
