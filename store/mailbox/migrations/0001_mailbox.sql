-- One text for SQLite and PostgreSQL: BLOB is written as BYTEA where that is its name.
-- Every key of what a city has much of begins with the gateway's id, so that it shards.

-- One-time codes of enrolment; hash is SHA-256 of the code.
CREATE TABLE codes (
  hash    BLOB PRIMARY KEY,
  kind    TEXT NOT NULL,             -- gateway, issuer
  id      TEXT NOT NULL,
  expires BIGINT NOT NULL,
  used    TEXT NOT NULL DEFAULT ''   -- the key that it enrolled: the same key may ask again
);

CREATE TABLE gateways (
  id         TEXT PRIMARY KEY,
  kid        TEXT NOT NULL,          -- thumbprint of its signing key
  descriptor TEXT NOT NULL,
  epoch      TEXT NOT NULL,
  head       BIGINT NOT NULL DEFAULT 0,
  floor      BIGINT NOT NULL DEFAULT 0,
  digest     BLOB NOT NULL,
  replica    TEXT NOT NULL DEFAULT '', -- that holds its feed; '' is offline
  changed    BIGINT NOT NULL DEFAULT 0, -- when it came or went, in milliseconds
  position   BIGINT NOT NULL DEFAULT 0, -- the change that it is known to have
  position_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE listens (                -- which issuers a gateway listens to
  gw  TEXT NOT NULL,
  iss TEXT NOT NULL,
  items BIGINT NOT NULL DEFAULT 0,    -- that the issuer has there, commands aside
  bytes BIGINT NOT NULL DEFAULT 0,    -- and how much they are in a snapshot
  PRIMARY KEY (gw, iss)
);
CREATE INDEX listens_iss ON listens (iss, gw);

CREATE TABLE issuers (
  id   TEXT PRIMARY KEY,
  keys TEXT NOT NULL DEFAULT '',      -- JWKS; '' has not enrolled yet
  head BIGINT NOT NULL DEFAULT 0      -- of its feed of events
);

-- The change log. A row that is current is the item; the others are its past.
CREATE TABLE items (
  gw      TEXT NOT NULL,
  seq     BIGINT NOT NULL,
  id      TEXT NOT NULL,
  iss     TEXT NOT NULL,              -- who wrote it
  kind    TEXT NOT NULL,
  ver     BIGINT NOT NULL,
  exp     BIGINT NOT NULL,
  body    TEXT NOT NULL,
  written BIGINT NOT NULL,            -- seconds
  current BOOLEAN NOT NULL,
  PRIMARY KEY (gw, seq)
);
CREATE UNIQUE INDEX items_current ON items (gw, id) WHERE current;
CREATE INDEX items_past ON items (written) WHERE NOT current;
CREATE INDEX items_over ON items (exp) WHERE current;
CREATE INDEX items_commands ON items (exp) WHERE kind = 'command';

-- Sealed events, by the issuer that they are for.
CREATE TABLE letters (
  iss     TEXT NOT NULL,
  seq     BIGINT NOT NULL,
  gw      TEXT NOT NULL,
  body    TEXT NOT NULL,
  written BIGINT NOT NULL,
  PRIMARY KEY (iss, seq)
);

-- How far each log of a gateway has come up.
CREATE TABLE uploads (
  gw   TEXT NOT NULL,
  log  TEXT NOT NULL,
  last BIGINT NOT NULL,
  PRIMARY KEY (gw, log)
);

CREATE TABLE replicas (
  id   TEXT PRIMARY KEY,
  seen BIGINT NOT NULL                -- seconds
);
