-- From where a key may be used (empty: from anywhere), and the public part of its spelling, to recognise it by.
ALTER TABLE api_keys ADD COLUMN allow_ips TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN hint TEXT NOT NULL DEFAULT '';
