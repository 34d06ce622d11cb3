"""Several subscriptions of one connection are one stream, in the order of the thread, without repetitions."""

from __future__ import annotations

from treadle_api.protocol.events import ProtocolEvent
from treadle_api.protocol.filters import EventFilter
from treadle_api.protocol.subscriptions import Subscriptions


def event(seq: int, channel: str) -> ProtocolEvent:
    return ProtocolEvent(channel, channel, (), seq, str(seq), 0, b"{}")


THREAD = [event(1, "lifecycle"), event(2, "values"), event(3, "values"), event(4, "lifecycle")]


def stream(subscriptions: Subscriptions) -> list[int]:
    """What is told of the thread from where the stream begins."""
    told = [each for each in THREAD if each.seq > subscriptions.since and subscriptions.wants(each)]
    for each in told:
        subscriptions.told(each)
    return [each.seq for each in told]


def test_each_event_is_told_once_for_all_that_want_it() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(EventFilter(channels=["lifecycle"]))
    subscriptions.add(EventFilter(channels=["lifecycle", "values"]))

    assert stream(subscriptions) == [1, 2, 3, 4]


def test_a_later_subscription_gets_what_it_missed_and_the_others_nothing_again() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(EventFilter(channels=["lifecycle"]))
    assert stream(subscriptions) == [1, 4]

    subscriptions.add(EventFilter(channels=["values"]))

    assert stream(subscriptions) == [2, 3]


def test_a_subscription_begins_where_it_wants_to() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(EventFilter(channels=["values"], since=2))

    assert (subscriptions.since, stream(subscriptions)) == (2, [3])


def test_what_is_unsubscribed_is_told_no_more() -> None:
    subscriptions = Subscriptions()
    values = subscriptions.add(EventFilter(channels=["values"]))
    subscriptions.add(EventFilter(channels=["lifecycle"]))

    assert subscriptions.remove(values)

    assert stream(subscriptions) == [1, 4]
    assert not subscriptions.remove(values)
