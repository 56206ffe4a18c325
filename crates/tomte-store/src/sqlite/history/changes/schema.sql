-- Changes of state. A host is made of scopes: what one collector reads as a
-- whole, and the host itself (without a collector). `row_at`, `whole_at` and
-- the hashes are those of the newest row, so that a start need not read it.
CREATE TABLE change_scope (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    host BLOB NOT NULL,
    collector TEXT NOT NULL,
    name TEXT NOT NULL,
    row_at INTEGER NOT NULL,
    whole_at INTEGER NOT NULL,
    facets_hash INTEGER NOT NULL,
    failure_hash INTEGER NOT NULL,
    UNIQUE (host, collector, name)
) STRICT;

-- How a scope was from a moment on: all of it when `whole`, else what is
-- otherwise than in the row before. See changes/state.rs.
CREATE TABLE change (
    scope INTEGER NOT NULL,
    at INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (scope, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX change_at ON change (at, scope);
