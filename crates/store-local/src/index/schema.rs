//! The index's tables. A released migration is never edited: a change is a new one at the end.

pub const MIGRATIONS: &[&str] = &["
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- 0 from the first change after opening until the index was closed in order.
    clean INTEGER NOT NULL,
    last_uid_validity INTEGER NOT NULL
) STRICT;
INSERT INTO state (one, clean, last_uid_validity) VALUES (1, 0, 0);

CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- Directory within the account's; empty for INBOX.
    dir TEXT NOT NULL UNIQUE,
    uid_validity INTEGER NOT NULL UNIQUE,
    uid_next INTEGER NOT NULL,
    mod_seq INTEGER NOT NULL,
    first_recent_uid INTEGER NOT NULL,
    special_use TEXT,
    messages INTEGER NOT NULL,
    unseen INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    -- Expunges up to this MODSEQ are known only as gaps between the UIDs.
    expunged_floor INTEGER NOT NULL,
    -- When the names in cur/ and new/ changed last, as far as the index knows them.
    cur_ns INTEGER NOT NULL,
    new_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE message (
    folder INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    -- The file's name up to the flags.
    base TEXT NOT NULL,
    in_new INTEGER NOT NULL,
    -- Bits: 1 answered, 2 flagged, 4 deleted, 8 seen, 16 draft.
    flags INTEGER NOT NULL,
    -- Joined by spaces, which no keyword has.
    keywords TEXT NOT NULL,
    size_octets INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    mod_seq INTEGER NOT NULL,
    trace_id BLOB,
    PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_mod_seq ON message (folder, mod_seq);

CREATE TABLE expunged (
    folder INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    mod_seq INTEGER NOT NULL,
    PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX expunged_mod_seq ON expunged (folder, mod_seq);

CREATE TABLE delivered (
    -- Digest of the delivery's key.
    key BLOB PRIMARY KEY,
    uid_validity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"];
