//! Who the hub is.

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot read or write it")]
    Io(#[from] std::io::Error),
}
