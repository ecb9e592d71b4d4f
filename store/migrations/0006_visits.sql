-- Ask first, who made a grant and for whom, and the entry that a grant is within.
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
  entry    TEXT,                        -- JSON: the newest entry by a grant for several doors; NULL: none
  block    INTEGER NOT NULL DEFAULT 0,  -- 1: deleted by a resident until a higher version
  ended    INTEGER NOT NULL DEFAULT 0,  -- 1: its end is in the record
  stripped INTEGER NOT NULL DEFAULT 0,  -- 1: what it said is gone, past its retention
  spoilt   INTEGER NOT NULL DEFAULT 0,  -- 1: it has limited uses, which may have been spent unseen
  since    INTEGER NOT NULL DEFAULT 0,  -- the newest event when its first version came: what the record has of it comes later
  approval TEXT CHECK (approval IN ('deny', 'approve')), -- residents are asked first, and what their silence says; NULL: they are not
  schedule TEXT,                        -- JSON, NULL: always
  sub      TEXT,                        -- personal; NULL: none, or forgotten
  holder   TEXT,
  kind     TEXT,                        -- of whom it is for, as the resident said who made it
  maker    TEXT,                        -- that resident; personal
  digest   BLOB NOT NULL,
  sum      BLOB NOT NULL GENERATED ALWAYS AS
    (row_sum(iss, jti, ver, status, doors, iat, nbf, exp, uses, used, entry, block, ended, stripped, spoilt, since, approval, schedule, sub, holder,
      kind, maker, digest)) STORED,
  PRIMARY KEY (iss, jti)
) WITHOUT ROWID;
-- A row that is not what was written ends the migration: the database is set aside (R4).
INSERT INTO grants2 (iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, stripped, spoilt, since, schedule, sub, holder, digest)
  SELECT CASE WHEN sum IS row_sum(iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, stripped, spoilt, since, schedule, sub, holder, digest)
    THEN iss END, jti, ver, status, doors, iat, nbf, exp, uses, used, block, ended, stripped, spoilt, since, schedule, sub, holder, digest FROM grants;

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
INSERT INTO pins2 (id, door, mac, length, iss, jti, owner, duress)
  SELECT CASE WHEN sum IS row_sum(id, door, mac, length, iss, jti, owner, duress) THEN id ELSE 'not what was written' END,
    door, mac, length, iss, jti, owner, duress FROM pins;
DROP TABLE pins;
DROP TABLE grants;
ALTER TABLE grants2 RENAME TO grants;
ALTER TABLE pins2 RENAME TO pins;
CREATE INDEX grants_running ON grants (exp) WHERE ended = 0; -- for the sweep of ended grants
CREATE INDEX pins_grant ON pins (iss, jti);

-- Where the record has the entries whose release is over, by attempt: seq is that of the first
-- access_granted.
CREATE TABLE entries (
  attempt TEXT PRIMARY KEY,
  seq     INTEGER NOT NULL
) WITHOUT ROWID;
