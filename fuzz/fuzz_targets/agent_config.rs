//! The agent's configuration file: it is refused or it is in force, whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tomte_agent::config::{Layers, Sources};

fuzz_target!(|text: &str| {
    if let Ok(layers) = Layers::of("/etc/tomte/agent.toml".into(), text, &Sources::default()) {
        let _ = layers.resolve(&[]);
    }
});
