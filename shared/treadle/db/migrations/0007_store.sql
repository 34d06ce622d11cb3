-- Times to live of fractions of a minute: langgraph's own table keeps whole minutes, and a read that refreshes an item of
-- twenty seconds would end it. Stock stores write and read the column as before.
alter table store alter column ttl_minutes type double precision;
