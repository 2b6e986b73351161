-- What a bot's whole ladder needs is kept with its fees, from rounded quantities where its market and price are known when
-- it is defined. What was kept before was without; it is filled in anew when the server starts.
UPDATE bots SET capital = NULL;
DELETE FROM ladders;
