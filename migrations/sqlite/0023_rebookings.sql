-- How often a closed trade of a bot was booked again: sums that were added up before that are not kept after it.
ALTER TABLE bots ADD COLUMN rebookings INTEGER NOT NULL DEFAULT 0;
