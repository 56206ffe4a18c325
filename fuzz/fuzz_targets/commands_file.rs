//! The host's list of commands: it is refused, or whole; and no argument
//! chooses the program.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tomte_agent::command::Commands;
use tomte_model::HostId;

fuzz_target!(|input: (&str, Vec<String>)| {
    let (text, arguments) = input;
    let Ok(commands) = Commands::parse(Path::new("/etc/tomte/commands.toml"), text) else { return };
    for command in &commands.available {
        if let Ok(allowed) = command.with(HostId::from_parts(1, 2), &arguments) {
            assert!(allowed.argv[0].starts_with('/') && allowed.plan.hash.len() == 64);
        }
    }
});
