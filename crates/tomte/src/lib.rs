//! The command line of Tomte
