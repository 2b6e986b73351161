-- Their best and worst percents were extremes of their own, not those of the best and the worst trade: they are added up
-- anew from the trades when somebody asks.
DELETE FROM bot_stats;
