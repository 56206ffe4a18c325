//! The API over HTTP.

use std::sync::Arc;

use axum::Router;

use crate::Hub;

/// Every route but `/link`.
pub fn router(_hub: Arc<Hub>) -> Router {
    Router::new()
}
