-- Version 4 of history.db: tables of buckets may have an entry for what their
-- series have in common (see codec/rollup.rs), which version 3 cannot read.
-- What is there stays as it is, and is written anew when it is added to.
INSERT OR IGNORE INTO meta VALUES ('sealed', 0);
