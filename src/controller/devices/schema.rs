//! The tables of the registry, beside the journal's in the state database.

/// Made where they are missing. `device_token.digest` is of the token: a copy of the file shows none.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, name TEXT UNIQUE, uuid TEXT UNIQUE, serial TEXT, inventory TEXT NOT NULL,
    certificate TEXT, state TEXT NOT NULL, boot TEXT NOT NULL, one_shot INTEGER NOT NULL, boots INTEGER NOT NULL,
    unheard INTEGER NOT NULL, last_seen INTEGER, added INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS device_mac (
    mac TEXT PRIMARY KEY, device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS device_token (
    digest BLOB PRIMARY KEY, device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE, expires INTEGER NOT NULL
) STRICT;
";
