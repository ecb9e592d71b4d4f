-- What the feed holds are items.
ALTER TABLE mail RENAME TO items;
