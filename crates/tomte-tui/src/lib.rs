//! `tomte top`: the whole fleet, or one agent's host, in a terminal.
//!
//! The core is pure: [`update`] takes an event and the time, changes the
//! [`App`] and returns what is to be done; [`render`] draws what the state says.
//! The shell around it ([`run`]) owns the terminal, the connection and the
//! clock. It speaks to `tomte-api`'s client only, and asks for no more than
//! what is on the screen.
//!
//! Where to look: [`keys`] is the table of keys, `columns` and `panels` say what
//! the pages show (both as data), `layout` where it is, `render/` has a file for
//! each part of the screen, `update/` one for each sort of event.

mod app;
mod chart;
mod columns;
pub mod config;
mod effect;
mod glyphs;
pub mod keys;
mod layout;
mod list;
mod panels;
mod render;
mod rows;
#[cfg(test)]
mod sample;
mod search;
mod series;
mod settings;
mod shell;
#[cfg(test)]
mod tests;
mod text;
pub mod theme;
mod units;
mod update;
mod world;

pub use app::{App, Surroundings, Target};
pub use effect::{Answer, Effect, Event, Question};
pub use render::render;
pub use shell::{Once, Options, TopError, run};
pub use update::update;
