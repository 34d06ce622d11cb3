"""Names of tenants and of what they keep, where they become keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from treadle.checkpoint.tenancy import key_within

# Those that would be something else in a key.
tenants = st.sampled_from(("a", "a/b", "a%2Fb", "a.b", "ä", "default")) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8
)
names = st.sampled_from(("", "b/c", "c", "/", "%2F")) | st.text(max_size=8)


@given(tenants, names, tenants, names)
def test_no_two_tenants_and_no_two_names_come_to_one_key(
    tenant: str, name: str, other: str, other_name: str
) -> None:
    same = (tenant, name) == (other, other_name)
    assert (key_within(tenant, name) == key_within(other, other_name)) == same


@given(tenants, names)
def test_no_key_is_the_id_of_a_thread(tenant: str, name: str) -> None:
    assert "/" in key_within(tenant, name)
