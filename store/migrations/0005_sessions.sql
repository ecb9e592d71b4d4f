CREATE TABLE residents2 (
  id        TEXT PRIMARY KEY,
  name      TEXT NOT NULL,              -- personal
  token     BLOB NOT NULL,              -- keyed hash
  paired    INTEGER NOT NULL,
  confirmed INTEGER NOT NULL DEFAULT 1, -- 0: restored where nobody knows who was removed (R3)
  role      TEXT NOT NULL DEFAULT 'resident' CHECK (role IN ('resident', 'guest', 'installer')),
  holder    TEXT,                       -- thumbprint of the key that signs its acts; NULL: its token is enough
  ver       INTEGER NOT NULL DEFAULT 1, -- rises with each move to another key
  sum       BLOB NOT NULL GENERATED ALWAYS AS (row_sum(id, name, token, paired, confirmed, role, holder, ver)) STORED
) WITHOUT ROWID;
-- A row that is not what was written ends the migration: the database is set aside (R4).
INSERT INTO residents2 (id, name, token, paired, confirmed)
  SELECT CASE WHEN sum IS row_sum(id, name, token, paired, confirmed) THEN id END, name, token, paired, confirmed FROM residents;
DROP TABLE residents;
ALTER TABLE residents2 RENAME TO residents;
