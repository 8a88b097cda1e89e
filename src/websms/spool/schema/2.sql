-- What the API and the hooks need: who repeats a request, what happened to all messages in one order, who has heard what.

-- The digest of what came with the message's key; erased with its text.
ALTER TABLE message ADD COLUMN print TEXT;

CREATE TABLE journal (
    number INTEGER PRIMARY KEY,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE hook (
    name TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    position INTEGER NOT NULL,
    gone INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
