"""The statements that differ from the stock Postgres store's. The tables are the stock ones.

Reading refreshes an item's time to live. Rows that another reader has locked are passed over: it is refreshing them to
the same moment, and waiting for each other in different orders would be a deadlock.
"""

from __future__ import annotations

# Goes before the puts of a run, in their transaction; migrations/0016_once.sql.
FENCE = "select treadle.hold_attempt(%s, %s)"
FENCED = "TR001"

_ALIVE = "(store.expires_at is null or store.expires_at > now())"

_REFRESHED = """
due as (
    select store.prefix, store.key from store join found using (prefix, key)
     where store.ttl_minutes is not null and {wanted} for no key update of store skip locked
),
refreshed as (
    update store set expires_at = now() + store.ttl_minutes * interval '1 minute'
      from due where store.prefix = due.prefix and store.key = due.key
)
"""

# Items of one namespace by their keys.
# Parameters: the namespace as text, the keys, and for each key whether to refresh it.
GET = f"""
with wanted as (select * from unnest(%s::text[], %s::bool[]) as w (key, refresh)),
found as (
    select store.prefix, store.key, store.value, store.created_at, store.updated_at, bool_or(w.refresh) as refresh
      from store join wanted w using (key) where store.prefix = %s and {_ALIVE}
     group by store.prefix, store.key
),
{_REFRESHED.format(wanted="found.refresh")}
select key, value, created_at, updated_at from found
"""  # noqa: S608 - put together from constants

# How near an item is to a vector: that of its nearest text. Cosine, 1 at best. Null: it has no text that is indexed.
NEARNESS = """(
    select 1 - min(nullif(v.embedding <=> %s::vector, 'NaN')) from store_vectors v
     where v.prefix = store.prefix and v.key = store.key
)"""
NO_SCORE = "null::float8"

# Placeholders between braces: what scores an item, and the conditions.
_FOUND = f"""
    select prefix, key, value, created_at, updated_at, {{score}} as score from store
     where {_ALIVE} and {{where}}
     order by score desc nulls last, updated_at desc, prefix, key limit %s offset %s
"""  # noqa: S608 - put together from constants
SEARCH = _FOUND
SEARCH_AND_REFRESH = f"""
with found as ({_FOUND}),
{_REFRESHED.format(wanted="true")}
select * from found order by score desc nulls last, updated_at desc, prefix, key
"""  # noqa: S608 - put together from constants

# Text that an item does not have any more must not lead to it.
FORGET_VECTORS = """
delete from store_vectors v using unnest(%s::text[], %s::text[]) as put (prefix, key)
 where v.prefix = put.prefix and v.key = put.key
"""
