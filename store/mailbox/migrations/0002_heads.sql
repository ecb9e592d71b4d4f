-- The newest head of the gateway's record, signed by the gateway: it is returned to it, so that a
-- gateway that was rolled back knows it by its own word.
ALTER TABLE gateways ADD COLUMN record_head TEXT NOT NULL DEFAULT '';
