//! The hub: what agents report, kept, judged and served
