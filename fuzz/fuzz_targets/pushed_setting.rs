//! A setting from the hub, `KEY=VALUE`. What the host lets pass can be put in force.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tomte_agent::config::{Layers, Sources};

static OWN: LazyLock<Layers> = LazyLock::new(|| {
    Layers::of("/etc/tomte/agent.toml".into(), "", &Sources::default()).expect("an empty file is valid")
});

fuzz_target!(|text: &str| {
    let Some((key, value)) = text.split_once('=') else { return };
    if OWN.check_pushed(key, value).is_ok() {
        let _ = OWN.resolve(&[(key.to_owned(), value.to_owned())]);
    }
});
