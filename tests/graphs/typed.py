"""A graph whose state holds types of its own: those that its schema names, and those that it does not."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, NamedTuple

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Place(NamedTuple):
    row: int
    shelf: int


@dataclass
class Line:
    """Holds others: an enum, and a named tuple that langgraph finds in no schema."""

    name: str
    size: Size
    place: Place


class Address(BaseModel):
    street: str
    since: date


class Customer(BaseModel):
    name: str
    address: Address
    password: SecretStr


class Regular(Customer):
    """No schema names it."""

    visits: int = 0


class Order(TypedDict, total=False):
    customer: Customer
    lines: Annotated[Sequence[Line], operator.add]
    size: Size
    anything: Any
    kinds: dict[str, Any]


def take(state: Order) -> Order:
    """Put some of everything into the state."""
    address = Address(street="High Street", since=date(2020, 1, 2))
    line = Line("tea", Size.LARGE, Place(1, 2))
    return {
        "customer": Regular(name="Ann", address=address, password=SecretStr("s"), visits=3),
        "lines": [line],
        "size": Size.SMALL,
        "anything": {"places": {Place(3, 4)}, "line": line},
    }


def _anything(state: Order) -> Any:
    return state.get("anything")


def tell(state: Order) -> Order:
    """What the state is made of after it was read from its checkpoint."""
    interrupt(Line("asked", Size.SMALL, Place(5, 6)))
    customer, anything, [line, *_] = state.get("customer"), _anything(state), state.get("lines", [None])
    found: dict[str, Any] = {
        "customer": customer,
        "address": getattr(customer, "address", None),
        "since": getattr(getattr(customer, "address", None), "since", None),
        "password": getattr(customer, "password", None),
        "line": line,
        "size of line": getattr(line, "size", None),
        "place of line": getattr(line, "place", None),
        "size": state.get("size"),
        "anything": anything,
    }
    if isinstance(anything, dict):
        [found["place"]] = anything["places"]
    return {"kinds": {name: type(each).__qualname__ for name, each in found.items()}}


typed = (
    StateGraph(Order)
    .add_node("take", take)
    .add_node("tell", tell)
    .add_edge(START, "take")
    .add_edge("take", "tell")
    .add_edge("tell", END)
)
