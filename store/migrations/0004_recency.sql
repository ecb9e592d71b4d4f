-- sum shows a bit that flipped on the card: the start looks at every row (R4).

CREATE TABLE state2 (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  sum   BLOB NOT NULL GENERATED ALWAYS AS (row_sum(key, value)) STORED
) WITHOUT ROWID;
-- A pause is an object now, and only where there is one.
INSERT INTO state2 (key, value) SELECT key, CASE key WHEN 'paused' THEN CAST('{}' AS BLOB) ELSE value END FROM state
  WHERE NOT (key = 'paused' AND CAST(value AS TEXT) = 'false');
DROP TABLE state;
ALTER TABLE state2 RENAME TO state;

-- Instants of grants are seconds since 1970.
CREATE TABLE grants2 (
  iss      TEXT NOT NULL,
  jti      TEXT NOT NULL,
  ver      INTEGER NOT NULL,
  status   TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
  doors    TEXT NOT NULL,               -- JSON list
  iat      INTEGER NOT NULL,
  nbf      INTEGER NOT NULL,
  exp      INTEGER NOT NULL,
  uses     INTEGER NOT NULL,            -- 0: no limit
  used     INTEGER NOT NULL DEFAULT 0,
  block    INTEGER NOT NULL DEFAULT 0,  -- 1: deleted by a resident until a higher version
  ended    INTEGER NOT NULL DEFAULT 0,  -- 1: its end is in the record
  stripped INTEGER NOT NULL DEFAULT 0,  -- 1: what it said is gone, past its retention
  spoilt   INTEGER NOT NULL DEFAULT 0,  -- 1: it has limited uses, which may have been spent unseen
  since    INTEGER NOT NULL DEFAULT 0,  -- the newest event when its first version came: what the record has of it comes later
  schedule TEXT,                        -- JSON, NULL: always
  sub      TEXT,                        -- personal; NULL: none, or forgotten
  holder   TEXT,
  digest   BLOB NOT NULL,
  sum      BLOB NOT NULL GENERATED ALWAYS AS
    (row_sum(iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, stripped, spoilt, since, schedule, sub, holder, digest)) STORED,
  PRIMARY KEY (iss, jti)
) WITHOUT ROWID;
INSERT INTO grants2 (iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, schedule, sub, holder, digest)
  SELECT iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, schedule, sub, holder, digest FROM grants;

-- Live PINs and cards (length 0) only.
CREATE TABLE pins2 (
  id     INTEGER PRIMARY KEY,
  door   TEXT NOT NULL,
  mac    BLOB NOT NULL,                 -- HMAC-SHA-256(device key, door, PIN or card)
  length INTEGER NOT NULL,
  iss    TEXT NOT NULL,
  jti    TEXT NOT NULL,
  owner  TEXT,                          -- resident whose own PIN it is
  duress TEXT,                          -- resident whose duress PIN it is
  sum    BLOB NOT NULL GENERATED ALWAYS AS (row_sum(id, door, mac, length, iss, jti, owner, duress)) STORED,
  UNIQUE (door, mac),
  FOREIGN KEY (iss, jti) REFERENCES grants2 (iss, jti)
);
INSERT INTO pins2 (id, door, mac, length, iss, jti, duress) SELECT id, door, mac, length, iss, jti, duress FROM pins;
DROP TABLE pins;
DROP TABLE grants;
ALTER TABLE grants2 RENAME TO grants;
ALTER TABLE pins2 RENAME TO pins;
CREATE INDEX grants_running ON grants (exp) WHERE ended = 0; -- for the sweep of ended grants
CREATE INDEX pins_grant ON pins (iss, jti);

CREATE TABLE residents2 (
  id        TEXT PRIMARY KEY,
  name      TEXT NOT NULL,              -- personal
  token     BLOB NOT NULL,              -- keyed hash
  paired    INTEGER NOT NULL,
  confirmed INTEGER NOT NULL DEFAULT 1, -- 0: restored where nobody knows who was removed (R3)
  sum       BLOB NOT NULL GENERATED ALWAYS AS (row_sum(id, name, token, paired, confirmed)) STORED
) WITHOUT ROWID;
INSERT INTO residents2 (id, name, token, paired) SELECT id, name, token, paired FROM residents;
DROP TABLE residents;
ALTER TABLE residents2 RENAME TO residents;

CREATE TABLE issuers2 (
  iss          TEXT PRIMARY KEY,
  paused       INTEGER NOT NULL DEFAULT 0,
  paused_until INTEGER NOT NULL DEFAULT 0, -- 0: until a resident resumes it
  heard        INTEGER NOT NULL DEFAULT 0,
  manifest     INTEGER NOT NULL DEFAULT 0,
  -- The newest manifest, and whether we have had just the grants that it names.
  man_ver      INTEGER NOT NULL DEFAULT 0,
  man_iat      INTEGER NOT NULL DEFAULT 0,
  man_next     INTEGER NOT NULL DEFAULT 0,
  man_count    INTEGER NOT NULL DEFAULT 0,
  man_digest   BLOB,
  man_matched  INTEGER NOT NULL DEFAULT 0,
  -- A key set that the issuer rotated to. It stands until the configured file, whose hash is
  -- key_file, changes; its version never falls.
  key_ver      INTEGER NOT NULL DEFAULT 0,
  key_set      BLOB,
  key_file     BLOB,
  sum          BLOB NOT NULL GENERATED ALWAYS AS (row_sum(iss, paused, paused_until, heard, manifest, man_ver, man_iat, man_next,
    man_count, man_digest, man_matched, key_ver, key_set, key_file)) STORED
) WITHOUT ROWID;
INSERT INTO issuers2 (iss, paused, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched, key_ver, key_set, key_file)
  SELECT iss, paused, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched, key_ver, key_set, key_file FROM issuers;
DROP TABLE issuers;
ALTER TABLE issuers2 RENAME TO issuers;
