-- Version 3 of history.db: readings are kept in tables (see codec/table.rs)
-- instead of rows, and buckets beside them. `arrival` and `reading` are only
-- read from here on, and emptied into the new tables.

-- Reports as they came in, whole, until they are sealed and the hub's records
-- cover them: a ring of slots, see journal.rs.
CREATE TABLE journal (
    slot INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Rows up to this number of a collector are in `part`, or went on from there.
ALTER TABLE collector ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;

-- Keys of these are period, collector and number in one integer, see place.rs.

-- Readings of some hours of a collector's day, see part.rs.
CREATE TABLE part (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- Readings of a whole day.
CREATE TABLE chunk (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- Buckets of five minutes: of a day, not in `five` yet.
CREATE TABLE recent (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- Buckets of five minutes: of eight days.
CREATE TABLE five (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- Buckets of an hour: of 96 days.
CREATE TABLE hour (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

-- What was damaged, as it was found.
CREATE TABLE damaged (
    number INTEGER PRIMARY KEY,
    place TEXT NOT NULL,
    what TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Up to which row reports are gone from the journal; when old history was last
-- deleted; from which day on there is history in spite of the cap on the size.
INSERT INTO meta VALUES ('sealed', 0), ('pruned_at', 0), ('hold_until', 0), ('raw_floor', 0), ('five_floor', 0);
