//! How to read one Linux host
