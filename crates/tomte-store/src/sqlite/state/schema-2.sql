-- Actions, as the agents of their hosts tell them; `body` is the whole of it as
-- JSON, `steps` the length of its history: what has fewer steps is older news.
CREATE TABLE action (
    id BLOB NOT NULL PRIMARY KEY,
    host BLOB NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX action_by_time ON action (created_at);
CREATE INDEX action_by_state ON action (state, created_at);
