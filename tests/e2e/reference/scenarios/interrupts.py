"""Graphs that stop and ask, and go on when they are answered."""

from __future__ import annotations

from tests.e2e.reference.talk import Talk


async def one_question(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.run(thread, "approval", command={"resume": "yes"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")


async def an_answer_by_the_id_of_the_question(talk: Talk) -> None:
    thread = await talk.thread()
    stopped = await talk.run(thread, "approval", {"text": "a"})
    [question] = stopped["__interrupt__"]
    await talk.run(thread, "approval", command={"resume": {question["id"]: {"approved": True}}})


async def two_questions_at_once(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "pair", {"text": "a"})
    state = await talk.get(f"{thread}/state")
    ids = {item["value"]: item["id"] for item in state["interrupts"]}
    await talk.run(thread, "pair", command={"resume": {ids["left?"]: "l"}})
    await talk.get(thread)
    await talk.run(thread, "pair", command={"resume": {ids["right?"]: "r"}})
    await talk.get(thread)


async def one_answer_to_two_questions(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "pair", {"text": "a"})
    await talk.run(thread, "pair", command={"resume": "both"})


async def both_answers(talk: Talk) -> None:
    thread = await talk.thread()
    stopped = await talk.run(thread, "pair", {"text": "a"})
    answers = {item["id"]: item["value"].rstrip("?") for item in stopped["__interrupt__"]}
    await talk.run(thread, "pair", command={"resume": answers})


async def a_question_inside_a_subgraph(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "nested", {"text": "a"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    state = await talk.get(f"{thread}/state?subgraphs=true")
    inner = state["tasks"][0]["state"]["checkpoint"]
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": {"checkpoint_ns": inner["checkpoint_ns"]}})
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": inner, "subgraphs": True})
    modes = ["values", "updates"]
    await talk.stream(thread, "nested", command={"resume": "yes"}, stream_mode=modes, stream_subgraphs=True)


async def an_answer_to_an_empty_thread(talk: Talk) -> None:
    await talk.run(await talk.thread(), "approval", command={"resume": "yes"})


async def an_answer_that_nobody_waits_for(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    await talk.run(thread, "steps", command={"resume": "yes"})
    await talk.get(thread)


async def an_update_with_the_answer(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    await talk.run(thread, "approval", command={"resume": "yes", "update": {"text": "changed"}})


async def a_new_input_instead_of_an_answer(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    await talk.run(thread, "approval", {"text": "b"})
    await talk.get(thread)


async def stops_before_and_after_nodes(talk: Talk) -> None:
    thread = await talk.thread()
    modes = ["values", "updates"]
    await talk.stream(thread, "steps", {"text": "a"}, stream_mode=modes, interrupt_before=["second"])
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.stream(thread, "steps", None, stream_mode=modes)
    await talk.get(thread)
    other = await talk.thread()
    await talk.run(other, "steps", {"text": "a"}, interrupt_after=["first"])
    await talk.run(other, "steps", None, interrupt_before=["*"])
    await talk.run(other, "steps", None)
    everywhere = await talk.thread()
    await talk.run(everywhere, "steps", {"text": "a"}, interrupt_after="*")
    await talk.get(everywhere)


async def many_questions_answered_in_parts(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "survey", {"names": ["a", "b", "c"]})
    ids = await _waiting(talk, thread)
    await talk.run(thread, "survey", command={"resume": {ids["a"]: 1, ids["c"]: None}})
    await talk.get(f"{thread}/state")
    await talk.run(thread, "survey", command={"resume": {ids["b"]: {"deep": [2]}}})
    await talk.get(thread)


async def an_answer_to_a_question_of_another_time(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "survey", {"names": ["a", "b"]})
    ids = await _waiting(talk, thread)
    await talk.run(thread, "survey", command={"resume": {ids["a"]: 1, "0" * 32: "nobody"}})
    await talk.run(thread, "survey", command={"resume": {ids["a"]: "again"}})
    await talk.run(thread, "survey", command={"resume": {ids["b"]: 2}})


async def strictly_answered(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "survey", {"names": ["a"]})
    await talk.run(thread, "survey", command={"resume": {"0" * 32: "nobody"}}, strict_resume=True)
    ids = await _waiting(talk, thread)
    await talk.run(thread, "survey", command={"resume": {ids["a"]: 1}}, strict_resume=True)


async def two_questions_of_one_node(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "interview", {})
    await talk.run(thread, "interview", command={"resume": "Ada"})
    await talk.get(thread)
    await talk.run(thread, "interview", command={"resume": 36})
    await talk.get(thread)


async def questions_deep_inside(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "deep", {})
    state = await talk.get(f"{thread}/state?subgraphs=true")
    ids = {item["value"]: item["id"] for item in state["interrupts"]}
    await talk.run(thread, "deep", command={"resume": {ids["left?"]: "l"}})
    await talk.get(f"{thread}/state?subgraphs=true")
    await talk.run(thread, "deep", command={"resume": {ids["right?"]: "r"}})
    await talk.get(thread)


async def stops_as_compiled(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.stream(thread, "guarded", {"steps": []}, stream_mode=["values", "updates"])
    await talk.get(thread)
    await talk.run(thread, "guarded", None)
    await talk.get(thread)
    await talk.run(thread, "guarded", None)
    await talk.get(thread)


async def other_stops_than_compiled(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "guarded", {"steps": []}, interrupt_before=["three"], interrupt_after=[])
    await talk.get(thread)
    await talk.run(thread, "guarded", {"steps": []}, interrupt_before=[], interrupt_after=[])
    await talk.get(thread)
    await talk.run(thread, "guarded", {"steps": []}, interrupt_before=["nonode"])


async def stops_before_every_node(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "row", {"steps": []}, interrupt_before="*")
    for _ in range(3):
        await talk.run(thread, "row", None, interrupt_before="*")
    await talk.get(thread)


async def a_stop_inside_a_subgraph(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "parent", {"text": "a"}, interrupt_before=["inner_b"])
    await talk.get(thread)
    await talk.run(thread, "parent", {"text": "a"}, interrupt_after="*")
    await talk.get(f"{thread}/state?subgraphs=true")


async def _waiting(talk: Talk, thread: str) -> dict[str, str]:
    """The ids of the questions that wait, by whom they ask."""
    state = await talk.get(f"{thread}/state", kept=False)
    return {item["value"]["ask"]: item["id"] for item in state["interrupts"]}
