-- Small things that every decision touches, on one page: see doc.go.
CREATE TABLE state (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- Instants of grants are seconds since 1970.
CREATE TABLE grants (
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
  schedule TEXT,                        -- JSON, NULL: always
  sub      TEXT,                        -- personal; NULL: none, or forgotten
  holder   TEXT,
  digest   BLOB NOT NULL,
  PRIMARY KEY (iss, jti)
) WITHOUT ROWID;

-- For the sweep of ended grants.
CREATE INDEX grants_running ON grants (exp) WHERE ended = 0;

-- Live PINs and cards (length 0) only; the order of rowid is the order of arrival.
CREATE TABLE pins (
  id     INTEGER PRIMARY KEY,
  door   TEXT NOT NULL,
  mac    BLOB NOT NULL,                 -- HMAC-SHA-256(device key, door, PIN or card)
  length INTEGER NOT NULL,
  iss    TEXT NOT NULL,
  jti    TEXT NOT NULL,
  duress TEXT,                          -- resident whose duress PIN it is
  UNIQUE (door, mac),
  FOREIGN KEY (iss, jti) REFERENCES grants (iss, jti)
);
CREATE INDEX pins_grant ON pins (iss, jti);

CREATE TABLE issuers (
  iss      TEXT PRIMARY KEY,
  paused   INTEGER NOT NULL DEFAULT 0,
  heard    INTEGER NOT NULL DEFAULT 0,
  manifest INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE residents (
  id     TEXT PRIMARY KEY,
  name   TEXT NOT NULL,                 -- personal
  token  BLOB NOT NULL,                 -- keyed hash
  paired INTEGER NOT NULL
) WITHOUT ROWID;

-- body: the event in canonical JSON without prev and hash; sub and resident stand
-- in it as salted commitments. Instants are milliseconds.
CREATE TABLE events (
  seq           INTEGER PRIMARY KEY,
  at            INTEGER NOT NULL,
  body          TEXT NOT NULL,
  hash          BLOB NOT NULL,
  sub           TEXT,
  sub_salt      BLOB,
  resident      TEXT,
  resident_salt BLOB
);

-- Answers to requests with an Idempotency-Key, sealed under the device key.
CREATE TABLE answers (
  key    BLOB PRIMARY KEY,              -- keyed hash of caller, route and key
  body   BLOB NOT NULL,                 -- keyed hash of the request's body
  answer BLOB NOT NULL,
  at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_at ON answers (at);
