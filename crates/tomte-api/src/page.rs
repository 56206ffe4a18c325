//! Lists come in pages.

use serde::{Deserialize, Serialize};
use tomte_model::Timestamp;

/// How many items a list returns when nobody says.
pub const DEFAULT_LIMIT: usize = 1_000;

/// How many items a list returns at most, whatever is asked for.
pub const MAX_LIMIT: usize = 10_000;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Pass this as `cursor` for the next page; null on the last one.
    pub next: Option<String>,
    /// The past moment that the list is of; absent when it is of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl<T> Page<T> {
    /// A page of how things are now.
    #[must_use]
    pub fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next, at: None }
    }
    /// A page that is the whole list.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self::new(items, None)
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageRequest {
    /// How many items at most; 1,000 when absent, never more than 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where the page before ended: its `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
