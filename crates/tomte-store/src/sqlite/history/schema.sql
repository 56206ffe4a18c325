-- Version 1 of history.db. Times are milliseconds since 1970.

-- Hosts, their collectors and their series have small numbers here, never
-- given twice, since rows hang on them.
CREATE TABLE host (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE collector (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    host INTEGER NOT NULL REFERENCES host (number),
    name TEXT NOT NULL,
    UNIQUE (host, name)
) STRICT;

-- What a number in a row's body means. The same field is another series when
-- its resolution changes or another collector brings it; queries join them.
-- `exponent` is that of the resolution's power of ten, 127 for values that
-- are kept as doubles. `last_at` may lag behind by an hour.
CREATE TABLE series (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    host INTEGER NOT NULL REFERENCES host (number),
    collector INTEGER NOT NULL REFERENCES collector (number),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    field TEXT NOT NULL,
    exponent INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    UNIQUE (host, kind, name, field, collector, exponent)
) STRICT;

-- Which positions of which outbox have arrived: first number and length of
-- each range, see ranges.rs.
CREATE TABLE received (
    outbox INTEGER NOT NULL REFERENCES host (number),
    epoch INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    PRIMARY KEY (outbox, epoch)
) STRICT, WITHOUT ROWID;

-- Everything of a report that seldom changes from one to the next, see frame.rs.
CREATE TABLE frame (
    number INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Reports in the order of writing, whole, until the hub's records cover them.
CREATE TABLE arrival (
    row INTEGER PRIMARY KEY,
    host INTEGER NOT NULL,
    collector INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    outbox INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    wall INTEGER NOT NULL,
    boot_millis INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    events TEXT,
    body BLOB NOT NULL,
    unkept BLOB
) STRICT;

-- Readings in their final place: one row per report, see body.rs.
CREATE TABLE reading (
    collector INTEGER NOT NULL,
    at INTEGER NOT NULL,
    row INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (collector, at, row)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Row numbers go on from here. They start at a number made of the time, so
-- that those of a replaced database are greater than those of the lost one,
-- which the hub's records may still name.
INSERT INTO meta VALUES ('last_row', CAST(unixepoch('subsec') * 10000 AS INTEGER));
