//! The command line of Tomte: wiring, and printing what the API says. It has no
//! logic of its own; start at [`cli`] for the commands.
mod cli;
mod demo {
    pub(crate) mod host;
}
mod output;
