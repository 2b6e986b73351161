-- A master key is in force, or `next` while what is stored is being sealed with it, or `retired`: it opens nothing more.
ALTER TABLE master_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'current';
CREATE UNIQUE INDEX master_keys_in_use ON master_keys (state) WHERE state <> 'retired';

-- Under which version of the master key an answer is sealed.
ALTER TABLE answers ADD COLUMN key_version INTEGER NOT NULL DEFAULT 1;
