//! The directory's tables. A released migration is never edited: a change is a new one at the end.

pub const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE domain (
    -- Lower-case A-labels.
    key TEXT PRIMARY KEY,
    written TEXT NOT NULL,
    catch_all TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    -- AUTOINCREMENT: an id is never given again, also when the highest account was removed.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What addresses are compared by (store's AddressKey).
    key TEXT NOT NULL UNIQUE,
    written TEXT NOT NULL,
    domain TEXT NOT NULL REFERENCES domain (key),
    enabled INTEGER NOT NULL,
    quota_octets INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    password_hash TEXT NOT NULL,
    scram_salt BLOB NOT NULL,
    scram_iterations INTEGER NOT NULL,
    scram_stored_key BLOB NOT NULL,
    scram_server_key BLOB NOT NULL
) STRICT;
CREATE INDEX account_domain ON account (domain, id);

CREATE TABLE alias (
    key TEXT PRIMARY KEY,
    written TEXT NOT NULL,
    domain TEXT NOT NULL REFERENCES domain (key)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_domain ON alias (domain, key);

CREATE TABLE alias_target (
    alias TEXT NOT NULL REFERENCES alias (key) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    key TEXT NOT NULL,
    written TEXT NOT NULL,
    PRIMARY KEY (alias, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_target_key ON alias_target (key);
",
    "
-- Addresses that an account may send as beside its own and its aliases.
CREATE TABLE delegation (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    written TEXT NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX delegation_key ON delegation (key);
",
];
