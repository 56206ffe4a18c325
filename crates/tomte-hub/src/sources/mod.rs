//! Where reports come from. Each source is a module here that hands reports to
//! ingest; nothing behind ingest knows which one it was.

pub(crate) mod link;
pub(crate) mod systant;
