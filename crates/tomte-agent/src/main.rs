//! The agent's binary; everything is in the library.

fn main() -> std::process::ExitCode {
    tomte_agent::cli::main()
}
