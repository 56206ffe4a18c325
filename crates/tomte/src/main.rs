//! The command line of Tomte; see the library beside it.

fn main() -> std::process::ExitCode {
    tomte::main()
}
