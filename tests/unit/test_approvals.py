"""Who may answer which question, as `approvals` of langgraph.json says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import ConfigError
from treadle.graphs.approvals import ApprovalRule
from treadle.graphs.config import read_config
from treadle.operations.approvals import Answerer, answered, kinds_of, lets

ADA = Answerer("acme", "ada", ["finance", "audit"], ["approve"])
NOBODY = Answerer("acme", None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("rule", "owner", "may"),
    [
        (ApprovalRule(users=["ada"]), None, True),
        (ApprovalRule(users=["bob"]), None, False),
        (ApprovalRule(roles=["hr", "audit"]), None, True),
        (ApprovalRule(permissions=["approve"], tenants=["acme"]), None, True),
        (ApprovalRule(permissions=["approve"], tenants=["other"]), None, False),
        (ApprovalRule(owner=True), "ada", True),
        (ApprovalRule(owner=True), "bob", False),
        (ApprovalRule(owner=False), "bob", True),
        (ApprovalRule(owner=False), "ada", False),
        (ApprovalRule(owner=True), None, False),
        (ApprovalRule(owner=False), None, False),
        (ApprovalRule(users=["ada"], roles=["hr"]), None, False),
    ],
    ids=lambda value: repr(value) if isinstance(value, ApprovalRule) else None,
)
def test_all_that_a_rule_says_has_to_fit(rule: ApprovalRule, owner: str | None, may: bool) -> None:
    assert lets(rule, ADA, owner) is may


def test_who_has_proved_nothing_fits_no_rule_but_that_of_a_tenant() -> None:
    assert lets(ApprovalRule(tenants=["acme"]), NOBODY, None)
    for rule in (ApprovalRule(users=["ada"]), ApprovalRule(owner=False), ApprovalRule(roles=["finance"])):
        assert not lets(rule, NOBODY, "ada")


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ("go on?", [""]),
        ({"question": "go on?"}, [""]),
        ({"type": "transfer"}, ["transfer"]),
        ({"action_request": {"action": "send_mail", "args": {}}}, ["send_mail"]),
        ([{"action_request": {"action": "a"}}, {"action_request": {"action": "b"}}], ["a", "b"]),
        ({"action_requests": [{"name": "a"}, {"name": "b"}], "review_configs": []}, ["a", "b"]),
        ({"action_requests": [{"name": 1}]}, [""]),
    ],
)
def test_the_type_of_a_question_is_read_as_graphs_write_it(value: Any, kinds: list[str]) -> None:
    assert kinds_of(value) == kinds


@given(JSON)
def test_every_question_has_a_type(value: Any) -> None:
    assert kinds_of(value)


def test_answers_by_id_are_for_those_questions_and_all_others_for_all() -> None:
    waiting = [[{"id": "a", "value": 1}], [{"id": "b", "value": 2}]]
    assert [each["id"] for each in answered(waiting, {"resume": {"a": 1}})] == ["a"]
    commands: list[dict[str, Any]] = [
        {"resume": 1},
        {"resume": {"amount": 1}},
        {"resume": {"a": 1, "other": 1}},
        {"resume": {}},
        {"resume": {"a": 1}, "goto": "x"},
        {"update": {"a": 1}},
    ]
    for command in commands:
        assert len(answered(waiting, command)) == 2


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, "does not say who"),
        ({"interrupts": ["a"]}, "does not say who"),
        ({"users": []}, "empty `users`"),
        ({"users": ["a"], "graphs": ["other"]}, "'other' in `graphs`"),
        ({"users": "ada"}, "approvals"),
        ({"user": ["ada"]}, "approvals"),
        ({"owner": "yes"}, "approvals"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(tmp_path: Path, rule: Any, problem: str) -> None:
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"g": "./g.py:g"}, "approvals": [rule]}), encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        read_config(path)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"tenants": {"a": {"weight": 0}}}, "tenants"),
        ({"tenants": {"a": {"concurrency": 0}}}, "tenants"),
        ({"tenants": {"a": {"wait": 1}}}, "tenants"),
        ({"tenants": {"a\n": {}}}, "printable"),
        ({"tenants": {"": {}}}, "printable"),
        ({"priority": {}}, "priority"),
        ({"priority": {"path": "nowhere"}}, "priority"),
    ],
)
def test_shares_and_priorities_that_cannot_be_meant_are_refused(
    tmp_path: Path, section: Any, problem: str
) -> None:
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"g": "./g.py:g"}, **section}), encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        read_config(path)
