//! The API over HTTP: routes, who may use them, and what an error looks like.
//!
//! [`routes`] is the one list of routes: the router, the OpenAPI document and
//! the test that walks them all come from it. [`gate`] stands before every
//! route and lets nobody in whose right the list does not name; a handler then
//! takes the right itself as an argument ([`rights`]), because the hub asks for
//! it. Handlers translate and no more: what they tell is the hub's, what they
//! say it in is `tomte-api`'s.
//!
//! `/link` is not here: the link's own source serves it.

mod accounts;
mod actions;
mod audit;
mod auth;
mod changes;
mod enrolment;
mod events;
mod extract;
mod gate;
mod history;
mod hosts;
mod live;
mod metrics;
mod openapi;
mod password;
mod past;
mod problem;
mod resources;
mod rights;
mod routes;
mod session;
mod setup;
pub(crate) mod source;
mod store;
mod system;
#[cfg(test)]
mod tests;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use crate::Hub;

pub use openapi::openapi;
pub use setup::sign_in_link;

use auth::Auth;
use routes::Access;

/// What every handler shares.
pub(crate) struct Shared {
    hub: Arc<Hub>,
    auth: Auth,
    live: live::Limits,
    access: routes::AccessTable,
    /// Held while the store is looked after by hand.
    store_work: Arc<tokio::sync::Mutex<()>>,
}

/// What every handler shares, shared.
type App = Arc<Shared>;

/// What is worth compressing: not what tells line by line how far work has
/// come, since a line would wait for others to be packed with.
fn compressed() -> impl Predicate {
    DefaultPredicate::new().and(NotForContentType::const_new(store::LINES))
}

/// Every route but `/link`.
pub fn router(hub: Arc<Hub>) -> Router {
    let app = Arc::new(Shared {
        auth: Auth::default(),
        live: live::Limits::default(),
        access: routes::access_table(),
        store_work: Arc::default(),
        hub,
    });
    routes::build()
        .fallback(ui::fallback)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), gate::pass))
        // History is long and made anew each time: what counts is the time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compressed()))
        .with_state(app)
}
