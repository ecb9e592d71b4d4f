-- The cloud's mailbox (gateway/uplink).

-- up numbers what goes up to issuers: dense, and never given twice.
ALTER TABLE events ADD COLUMN up INTEGER;
CREATE UNIQUE INDEX events_up ON events (up) WHERE up IS NOT NULL;

-- What the mailbox has for us, by the digest of each item; taken is 0 for one that was
-- rejected, which is looked at again when the rules have changed.
CREATE TABLE mail (
  id    TEXT PRIMARY KEY,
  sum   BLOB NOT NULL,
  taken INTEGER NOT NULL
) WITHOUT ROWID;

-- Grants that were rightly signed and not kept: they were not withheld.
CREATE TABLE refused (
  iss TEXT NOT NULL,
  jti TEXT NOT NULL,
  ver INTEGER NOT NULL,
  exp INTEGER NOT NULL,
  PRIMARY KEY (iss, jti)
) WITHOUT ROWID;

-- Commands that came, each once (F10).
CREATE TABLE commands (
  iss TEXT NOT NULL,
  jti TEXT NOT NULL,
  exp INTEGER NOT NULL,
  PRIMARY KEY (iss, jti)
) WITHOUT ROWID;

-- The newest manifest, and whether we have had just the grants that it names.
ALTER TABLE issuers ADD COLUMN man_ver INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuers ADD COLUMN man_iat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuers ADD COLUMN man_next INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuers ADD COLUMN man_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuers ADD COLUMN man_digest BLOB;
ALTER TABLE issuers ADD COLUMN man_matched INTEGER NOT NULL DEFAULT 0;

-- A key set that the issuer rotated to. It stands until the configured file, whose hash is
-- key_file, changes; its version never falls.
ALTER TABLE issuers ADD COLUMN key_ver INTEGER NOT NULL DEFAULT 0;
ALTER TABLE issuers ADD COLUMN key_set BLOB;
ALTER TABLE issuers ADD COLUMN key_file BLOB;
