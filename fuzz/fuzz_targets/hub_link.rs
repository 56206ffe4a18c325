//! What an enrolled agent, or somebody with its token, says to the hub.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tomte_fuzz::{agent_says, converse, hello};
use tomte_link::{AgentLink, HubLink, Limits};
use tomte_model::Catalogue;

static SAID: LazyLock<Vec<Vec<u8>>> = LazyLock::new(agent_says);

fuzz_target!(|input: &[u8]| {
    let first = AgentLink::new(hello(), Arc::new(Catalogue::builtin())).hello();
    let (mut hub, _) = HubLink::accept(&first, Limits::default()).expect("the hello is ours");
    converse(&SAID, input, |message| hub.handle(message).is_ok());
});
