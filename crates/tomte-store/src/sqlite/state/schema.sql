-- Version 1 of state.db. Times are milliseconds since 1970, ids 16 bytes,
-- lists and maps JSON.

CREATE TABLE host (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    foreign_name TEXT,
    roles TEXT NOT NULL,
    external_ids TEXT NOT NULL,
    via BLOB,
    public_key BLOB,
    agent_version TEXT,
    created_at INTEGER NOT NULL,
    first_seen_at INTEGER,
    last_seen_at INTEGER,
    announced_presence TEXT,
    settings TEXT NOT NULL,
    settings_revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every name and alias, so that each leads to one host only. Place 0 is the
-- name, the aliases follow in order.
CREATE TABLE host_name (
    name TEXT NOT NULL PRIMARY KEY,
    host BLOB NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX host_name_by_host ON host_name (host, place);

CREATE TABLE host_token (
    hash BLOB NOT NULL PRIMARY KEY,
    host BLOB NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    first_used_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX host_token_by_host ON host_token (host);

CREATE TABLE via_grant (
    agent BLOB NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    via BLOB NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    PRIMARY KEY (agent, via)
) STRICT, WITHOUT ROWID;
CREATE INDEX via_grant_by_via ON via_grant (via);

CREATE TABLE enrolment_code (
    hash BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_by BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    password_changed_at INTEGER,
    last_login_at INTEGER,
    disabled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    hash BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address TEXT,
    user_agent TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_account ON session (account);

CREATE TABLE api_token (
    hash BLOB NOT NULL PRIMARY KEY,
    prefix TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    receipt INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    host BLOB,
    received_at INTEGER NOT NULL,
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity INTEGER NOT NULL,
    subject TEXT,
    correlation_id BLOB,
    message TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_host ON event (host, receipt);
CREATE INDEX event_by_time ON event (at);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT,
    outcome TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is never deleted');
END;

-- Kinds that others described.
CREATE TABLE kind (
    name TEXT NOT NULL PRIMARY KEY,
    definition TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was last known of each host, as JSON; `row` is the newest row of
-- history.db that is in it.
CREATE TABLE snapshot (
    host BLOB NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    row INTEGER NOT NULL,
    at INTEGER NOT NULL,
    latest TEXT NOT NULL
) STRICT;

CREATE TABLE value (
    key TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
