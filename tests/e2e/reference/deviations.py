"""Where Treadle differs from the reference server on purpose."""

from __future__ import annotations

from typing import NamedTuple


class Deviation(NamedTuple):
    """What differs on purpose; docs/compatibility.md says the same to users, in these words.

    `where` are patterns of `<group>/<scenario>/<number of the exchange>/<place>: <theirs> -> <ours>`.
    """

    why: str
    where: tuple[str, ...]


DEVIATIONS = (
    Deviation(
        "A request that cannot be used is answered with 422, whichever rule it breaks.",
        (
            "*/told/status: 400 -> 422",
            "cancels/too_late_or_unknown/5/told/status: 404 -> 422",
            "states/history/6/told/*",
            "assistants/versions/13/told/status: 404 -> 422",
            "crons/refused/17/told/status: 404 -> 422",
        ),
    ),
    Deviation(
        "A value that is not one of the allowed ones is refused, never passed over.",
        (
            "errors/fields_that_the_reference_server_takes/*",
            "runs/listed/9/told/*",
            "store/refused_gets_and_removals/3/told/*",
            "store/refused_namespaces/[6789]/told/*",
            "store/refused_searches/1[234]/told/*",
            "store/time_that_is_over_at_once/*",
            "runs/listed_with_negative_numbers/*",
            "batches/with_values_that_are_not_allowed/*",
            "bulk_cancels/by_an_unknown_action/1/*",
            "threads/with_a_time_to_live/[678]/told/*",
        ),
    ),
    Deviation(
        "Joining or streaming a run that does not exist is a 404, not a 200 with an error inside.",
        ("errors/ids/7/told/*", "errors/ids/9/told/*"),
    ),
    Deviation(
        "A known path with a method that it does not have is a 405.",
        ("errors/paths_and_methods/3/told/status: 404 -> 405",),
    ),
    Deviation(
        "Searching the assistants of an unknown graph finds none; it is no error.",
        ("errors/assistants/1/told/*", "assistants/found/22/told/*"),
    ),
    Deviation(
        "Setting the latest version brings back all that the version held, its graph and its context too.",
        (
            "assistants/back_to_another_graph/2/told/body/context/*",
            "assistants/back_to_another_graph/2/told/body/graph_id: *",
        ),
    ),
    Deviation(
        "`sort_order` counts without `sort_by` too: by time of creation.",
        ("assistants/found/16/told/body/*/name: *", "crons/found/13/told/body/*"),
    ),
    Deviation(
        "A cron's `payload` is the request for each of its runs, without what the cron has besides.",
        (
            *(
                f"crons/*/payload/{name}: * -> '<missing>'"
                for name in ("schedule", "timezone", "end_time", "enabled", "on_run_completed")
            ),
            "crons/*/payload/config: {'configurable': {'cron_id': *}} -> '<missing>'",
            "crons/*/payload/config/configurable: {'cron_id': *} -> '<missing>'",
            "crons/*/payload/config/configurable/cron_id: * -> '<missing>'",
        ),
    ),
    Deviation(
        "Metadata that are merged into a cron's are merged into those of its runs too.",
        ("crons/changed/*/payload/metadata/k: '<missing>' -> 1",),
    ),
    Deviation(
        "A cron that could not run as it is meant is refused: with an end that is past or no time, with an unknown "
        "strategy, with `context` beside `configurable`, with `on_run_completed` for a thread that exists already.",
        ("crons/taken_by_the_reference_server/*",),
    ),
    Deviation(
        "A cron tells more of itself: `on_missed`, and of its newest tick `last_run_id`, `last_thread_id` and `last_error`.",
        (
            "crons/*/on_missed: '<missing>' -> 'once'",
            "crons/*/last_run_id: '<missing>' -> None",
            "crons/*/last_thread_id: '<missing>' -> None",
            "crons/*/last_error: '<missing>' -> None",
        ),
    ),
    Deviation(
        "A filter that no version of an assistant matches finds none; it is no error.",
        ("assistants/versions/6/told/*",),
    ),
    Deviation(
        "`error` and `interrupts` are always members of a thread.",
        (
            "*/told/body/error: '<missing>' -> None",
            "*/told/body/interrupts: '<missing>' -> {}",
            "thread_search/whole/0/told/body/2/error: '<missing>' -> None",
            "thread_search/whole/0/told/body/2/interrupts: '<missing>' -> {}",
        ),
    ),
    Deviation(
        "Joining a stream without Last-Event-ID gives every event that is kept, from the first.",
        ("cancels/with_a_waiter/1/told/events/*: '<missing>' -> *",),
    ),
    Deviation(
        "`Location` and `Content-Location` of a stateless stream name the thread too, where its run can be joined.",
        ("runs/stateless_and_streamed/0/told/headers/*location: *",),
    ),
    Deviation(
        "A run's metadata always name its own graph.",
        (
            "runs/*/told/body/metadata/graph_id: *",
            "batches/*/told/body/*/metadata/graph_id: *",
            "thread_search/stateless_while_they_run/0/told/body/metadata/graph_id: *",
        ),
    ),
    Deviation(
        "A run's `kwargs` hold what was asked for, without what the server adds to execute it.",
        (
            "*/kwargs/checkpoint: *",
            "*/kwargs/checkpoint_during: *",
            "*/kwargs/config/configurable/*: * -> '<missing>'",
            "*/kwargs/config/metadata/*: * -> '<missing>'",
            "*/kwargs/langsmith_tracer: *",
            "*/kwargs/temporary: *",
            "*/langsmith_session_name: *",
        ),
    ),
    Deviation(
        "A run of a batch that names a thread is made on that thread.",
        ("batches/on_a_thread/0/told/body/0/thread_id: *",),
    ),
    Deviation(
        "A webhook may not go to a private address either, unless TREADLE_WEBHOOK_ALLOWED_NETWORKS has it.",
        ("errors/webhooks_to_private_addresses/*",),
    ),
    Deviation(
        "A checkpoint's metadata leave out its own place in the graph, as langgraph's Postgres saver has it: "
        "`checkpoint` and `parent_checkpoint` tell it.",
        (
            "*/metadata/langgraph_*: * -> '<missing>'",
            "*/metadata/checkpoint_*: * -> '<missing>'",
        ),
    ),
    Deviation(
        "`checkpoint` always has its `checkpoint_ns`.",
        ("states/at_a_checkpoint/*/told/body/checkpoint/checkpoint_ns: '<missing>' -> ''",),
    ),
    Deviation(
        "A cancelled thread's `error` says in words what became of the run; a rollback leaves none.",
        ("cancels/interrupted/4/told/body/error/message: *", "cancels/rolled_back/3/told/body/error: *"),
    ),
    Deviation(
        "A run that stopped to ask answers with its values beside all of `__interrupt__`, however many "
        "questions there are, and to `join` as to `wait`.",
        (
            "interrupts/*/0/told/body/steps: '<missing>' -> []",
            "interrupts/*/0/told/body/text: '<missing>' -> 'a'",
            "interrupts/*/0/told/body/names: '<missing>' -> *",
            "interrupts/*/0/told/body/answers: '<missing>' -> {}",
            "runs/joined_late/3/told/body/steps: '<missing>' -> []",
            "runs/joined_late/3/told/body/text: '<missing>' -> 'a'",
            "runs/joined_late/3/told/body/__interrupt__/0/response_schema: '<missing>' -> None",
        ),
    ),
    Deviation(
        "After one of several questions is answered, the values have what its node made of the answer.",
        (
            "interrupts/two_questions_at_once/[23]/told/body/*steps/0: '<missing>' -> 'left:l'",
            "interrupts/many_questions_answered_in_parts/1/told/body/answers/[ac]: '<missing>' -> *",
            "interrupts/an_answer_to_a_question_of_another_time/[12]/told/body/answers/a: '<missing>' -> 1",
            "interrupts/questions_deep_inside/2/told/body/answers/left: '<missing>' -> 'l'",
        ),
    ),
    Deviation(
        "`strict_resume` is heeded: an answer to a question that does not wait fails its run.",
        ("interrupts/strictly_answered/1/told/body/*",),
    ),
    Deviation(
        "A command without `goto` has an empty one, so an update on an empty thread is taken; a command that holds "
        "nothing but nulls is none.",
        (
            "commands/empty/1/told/body/*",
            "commands/on_an_empty_thread/1/told/body/*",
            "streams/an_interrupt_and_its_answer_among_events/1/told/events/1/1/data/input/goto: None -> []",
        ),
    ),
    Deviation(
        "`goto` takes names and sends in one list.",
        ("commands/to_nodes_with_inputs/1/told/*",),
    ),
    Deviation(
        "A checkpoint's metadata always name its thread.",
        ("forks/copied/2/told/body/metadata/thread_id: '<missing>' -> *",),
    ),
    Deviation(
        "A thread's values after an update at an earlier checkpoint are those of the update.",
        ("forks/updated_and_gone_on_with/3/told/body/values/steps/2: '<missing>' -> 'mended'",),
    ),
    Deviation(
        "A state that cannot be kept fails its run with an error that names the channel, and none of that step is kept.",
        (
            "messages/a_state_that_cannot_be_kept/[036]/told/events/2/1/*: *",
            "messages/a_state_that_cannot_be_kept/[147]/told/body/error/*: *",
            "messages/a_state_that_cannot_be_kept/[258]/told/body/next/0: '<missing>' -> 'odd'",
            "messages/a_state_that_cannot_be_kept/[258]/told/body/tasks/0/result: {'steps': [[]'odd']} -> None",
            "messages/a_state_that_cannot_be_kept/[258]/told/body/values/steps/1: 'odd' -> '<missing>'",
        ),
    ),
    Deviation(
        "What JSON cannot hold is told by its `repr`, not as null.",
        ("messages/events_that_cannot_be_told/0/told/events/1/1/handle: None -> *",),
    ),
    Deviation(
        "A state that the graph's own reducers or model refuse is shown as its last checkpoint holds it; reading it is "
        "no error.",
        (
            "graphs/commands/4/told/*",
            "messages/an_input_that_pydantic_refuses/1/told/body/values/number: '<missing>' -> 'many'",
            "messages/an_input_that_pydantic_refuses/6/told/*",
        ),
    ),
    Deviation(
        "An answer on an empty thread runs the graph from its start.",
        ("interrupts/an_answer_to_an_empty_thread/0/told/*",),
    ),
    Deviation(
        "The result of an MCP tool is JSON, once as text and once as structured content; a failure says what failed, "
        "not only what kind of error it was.",
        (
            "mcp/called/*/told/body/result/content/0/text: *",
            "mcp/called/*/told/body/result/isError: '<missing>' -> False",
            "mcp/called/*/told/body/result/structuredContent: '<missing>' -> *",
        ),
    ),
    Deviation(
        "An input that is no object is the argument `input` of its MCP tool, since the protocol wants an object.",
        (
            "mcp/described/0/told/body/result/tools/*/inputSchema/*: * -> *",
            "mcp/called/4/told/body/result/isError: True -> False",
        ),
    ),
    Deviation(
        "What the Model Context Protocol does not allow is refused by its official library, as a JSON-RPC error.",
        ("mcp/refused/*",),
    ),
    Deviation(
        "Items of the store are listed as the reference documents it, the last changed first.",
        (
            "store/filters_that_leave_several/[34567]/told/body/items/*",
            "store/searches/11/told/body/items/*",
        ),
    ),
    Deviation(
        "Filters compare text as well as numbers; what is missing or of another kind does not match, and is no error.",
        (
            "store/filters/11/told/*",
            "store/filters_that_compare_text_or_nothing/[456]/told/*",
        ),
    ),
    Deviation(
        "An item whose key is empty can be got, too.",
        ("store/options_of_put/4/told/*",),
    ),
    Deviation(
        "A namespace that is refused is refused in JSON, like anything else.",
        (
            'store/refused_*/told/body/text: "Namespace label *',
            "store/refused_*/told/body/error: 'Key is required' -> '<missing>'",
            "store/refused_*/told/body/detail: '<missing>' -> '<text>'",
            "store/refused_*/told/headers/content-type: '<missing>' -> 'application/json'",
        ),
    ),
    Deviation(
        "The form of A2A answers is that of its official library: lists that are empty are left out, streams name their "
        "charset, errors have `data`, and what the protocol does not allow is refused in the library's words.",
        (
            "a2a/*/told/body/result/history: [] -> '<missing>'",
            "a2a/streamed/*/told/headers/content-type: *",
            "a2a/streamed/1/told/events/*/append: '<missing>' -> False",
            "a2a/streamed/1/told/events/*/lastChunk: '<missing>' -> True",
            "a2a/*/told/body/error/data: '<missing>' -> *",
            "a2a/refused/*/told/body/error/message: *",
            "a2a/refused/5/told/body/error/code: -32602 -> -32600",
        ),
    ),
    Deviation(
        "An A2A task has its artifacts whenever it is asked for, what it asks is the message of its status too, and "
        "there is no such message where there is nothing to say.",
        (
            "a2a/*/told/body/result/artifacts: '<missing>' -> *",
            "a2a/*/status/message: '<missing>' -> *",
            "a2a/a_conversation/[123]/told/body/result/status/message: * -> '<missing>'",
            "a2a/a_conversation/4/asked/body/params/message/messageId: *",
        ),
    ),
    Deviation(
        "The artifact of an A2A task in which nothing was said is the values as data, not as Python would print them.",
        (
            "a2a/*/told/body/result/artifacts/0/parts/0/data: '<missing>' -> *",
            "a2a/*/told/body/result/artifacts/0/parts/0/kind: 'text' -> 'data'",
            "a2a/*/told/body/result/artifacts/0/parts/0/text: * -> '<missing>'",
        ),
    ),
    Deviation(
        "An A2A task that failed says when, and what failed beside what kind of error it was.",
        (
            "a2a/*/status/message/parts/0/text: * -> 'ValueError: the node failed on purpose'",
            "a2a/*/status/message/messageId: *",
            "a2a/data/1/told/body/result/status/timestamp: '<missing>' -> '<time>'",
        ),
    ),
    Deviation(
        "An A2A card offers both versions of the protocol, and says nothing that the protocol does not know.",
        ("a2a/cards/[01]/told/body/*",),
    ),
    Deviation(
        "An A2A message to an assistant that does not exist is a 404, as is its card.",
        ("a2a/cards/[23]/told/*", "a2a/refused/11/told/*"),
    ),
    Deviation(
        "A thread is made with all of its `supersteps`, or not at all.",
        ("threads/with_a_history_that_cannot_be/[123]/told/*",),
    ),
    Deviation(
        "`if_exists`: `do_nothing` does nothing to a thread that exists, `supersteps` included.",
        ("threads/with_a_history_though_it_exists/1/told/body/values/steps/1: 'mine' -> '<missing>'",),
    ),
    Deviation(
        "Threads expire, and `include=ttl` shows when.",
        ("threads/with_a_time_to_live/1/told/body/ttl: '<missing>' -> {*}",),
    ),
    Deviation(
        "Counting threads heeds `ids`, as searching them does.",
        ("thread_search/counted/5/told/body: 3 -> 1",),
    ),
    Deviation(
        "In a search a list contains each shorter list of its items, as Postgres has it.",
        (
            "thread_search/filtered/8/told/body/[012]: '<missing>' -> {*",
            "thread_search/filtered/8/told/headers/x-pagination-total: '0' -> '3'",
        ),
    ),
    Deviation(
        "`sort_order` counts without `sort_by` too.",
        ("thread_search/sorted_by/13/told/body/[02]/thread_id: *",),
    ),
    Deviation(
        "A copy of a thread has its status, its values and its questions.",
        (
            "thread_copies/*/told/body/values: '<missing>' -> *",
            "thread_copies/with_a_question/3/told/body/interrupts: '<missing>' -> {*}",
            "thread_copies/with_a_question/3/told/body/status: 'idle' -> 'interrupted'",
        ),
    ),
    Deviation(
        "A copy goes on where subgraphs were.",
        ("thread_copies/with_its_history/5/told/*",),
    ),
    Deviation(
        "Copying a thread that does not exist is a 404.",
        ("thread_copies/that_cannot_be/0/told/status: 409 -> 404",),
    ),
    Deviation(
        "Threads can be pruned to their latest state; the development server of the reference cannot.",
        ("thread_copies/pruned_to_the_latest/[12]/told/*",),
    ),
    Deviation(
        "A thread's storage counts what Postgres holds: a plain value is part of its checkpoint, and a channel without "
        "a value takes nothing.",
        ("thread_copies/measured/2/told/body/channel_values/*",),
    ),
    Deviation(
        "`select` is heeded where a state or a history is read.",
        ("states/selected/*/told/*",),
    ),
    Deviation(
        "An update inside of a subgraph leaves the values and the questions of its thread alone.",
        ("states/updated_inside_of_a_subgraph/5/told/body/*",),
    ),
    Deviation(
        "A command that names what does not exist is an `invalid_argument`, with a text of our own; the state can be read by "
        "command, and a command that is not carried out here is `not_supported`.",
        (
            "protocol/*/told/body/message: *",
            "protocol/refused_commands/8/told/body/error: 'unknown_error' -> 'invalid_argument'",
            "protocol/refused_commands/15/told/body/error: 'unknown_command' -> 'invalid_argument'",
            "protocol/refused_commands/16/told/body/error: 'unknown_command' -> 'not_supported'",
        ),
    ),
    Deviation(
        "In the event streaming protocol a question is told as `payload`, as the protocol has it, and as `value`, as the "
        "Python client reads it.",
        ("protocol/*/params/data/value: '<missing>' -> {'question': 'go on?'}",),
    ),
    Deviation(
        "Each step of a message names the message and the model's call, so that several may be told at once.",
        (
            "protocol/*/params/data/message_id: '<missing>' -> *",
            "protocol/*/params/data/run_id: '<missing>' -> *",
        ),
    ),
    Deviation(
        "The values of the event streaming protocol are those of every other stream, with all fields of their messages.",
        ("protocol/*/params/data/messages/*: '<missing>' -> *",),
    ),
    Deviation(
        "The end of a run or a subgraph comes after all that it has told.",
        ("protocol/a run of approval/1/told/events/*", "protocol/a run of nested/1/told/events/*"),
    ),
)
