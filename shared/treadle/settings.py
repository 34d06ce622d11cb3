"""All settings of all services: read once from the environment, typed, validated, documented.

Names that Agent Server users know are kept. `docs/settings.md` is made from this module
(`python -m treadle.settings`), so the table there cannot drift.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from treadle.errors import ConfigError

Positive = Meta(gt=0)
NotNegative = Meta(ge=0)
Port = Meta(ge=0, le=65535)
# No finite wait is longer; it keeps infinity out of timers and intervals.
YEAR_SECS = 366 * 24 * 3600
Seconds = Meta(gt=0, le=YEAR_SECS)
SecondsOrNone = Meta(ge=0, le=YEAR_SECS)
# A host name, address or nothing, and perhaps a port.
HOST = r"(\[[^\]]*\]|[^\[\]:,/?@]*)(:\d+)?"
# Those whose public key verifies, and cannot sign.
ALGORITHM = "((RS|PS|ES)(256|384|512)|EdDSA)"
PERMISSION = "(read|run|resume|update|administer)"
# Their values hold passwords: they are never shown.
SECRETS = frozenset(
    {
        "database_uri",
        "redis_uri",
        "nats_url",
        "treadle_webhook_secret",
        "langgraph_aes_key",
        "treadle_identity_secret",
    }
)


def doc(text: str) -> Meta:
    return Meta(description=text)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per environment variable; the variable's name is the field's, in capitals."""

    database_uri: Annotated[
        str,
        doc(
            "Postgres DSN, `postgresql://user:password@host:5432/name`. The truth lives here. With `?prepared_statements=no` "
            "behind a pooler that keeps none ([scale.md](scale.md#connections-to-postgres))."
        ),
        Meta(pattern=rf"^postgres(ql)?://([^/?@]*@)?{HOST}(,{HOST})*([/?].*)?$"),
    ]
    redis_uri: Annotated[
        str,
        doc("Redis or Valkey URL: `redis://`, `rediss://` or `unix://`. Cancel signals and live events."),
        Meta(pattern=r"^(rediss?|unix)://"),
    ]
    nats_url: Annotated[
        str,
        doc("NATS URL, `nats://host:4222`, or several separated by commas. JetStream must be on."),
        Meta(pattern=r"^(nats|tls|wss?)://[^\s,]+(\s*,\s*(nats|tls|wss?)://[^\s,]+)*$"),
    ]
    langgraph_config: Annotated[str, doc("Path of the langgraph.json to serve.")] = "langgraph.json"

    langgraph_aes_key: Annotated[
        str,
        doc(
            "Key that encrypts checkpoints, 16, 24 or 32 bytes ([secrets.md](secrets.md#checkpoints-at-rest)); none: they are plain."
        ),
    ] = ""

    treadle_host: Annotated[str, doc("Address that the API listens on.")] = "127.0.0.1"
    treadle_port: Annotated[int, Port, doc("Port that the API listens on.")] = 2024

    treadle_api_processes: Annotated[
        int,
        Positive,
        doc("Processes that `treadle api` runs on this port; each has connections and limits of its own."),
    ] = 1

    mount_prefix: Annotated[
        str,
        doc("Path that all routes of the API lie under, `/api`; stands above that of langgraph.json."),
        Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*/?$"),
    ] = ""

    n_jobs_per_worker: Annotated[int, Positive, doc("Runs that one worker executes at the same time.")] = 10
    bg_job_timeout_secs: Annotated[
        float, Seconds, doc("Longest time that one attempt of a run may take; then it ends as `timeout`.")
    ] = 3600
    bg_job_max_retries: Annotated[
        int,
        Positive,
        doc(
            "Attempts lost to dead workers after which a run ends as `error`; from 2 on the last is made in a process of its own."
        ),
    ] = 3
    bg_job_shutdown_grace_period_secs: Annotated[
        float,
        SecondsOrNone,
        doc(
            "How long a worker lets its runs finish after SIGTERM; in the last 5 seconds they begin no other step."
        ),
    ] = 180

    treadle_route: Annotated[
        str, doc("The route (worker pool) that a worker pulls from."), Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    ] = "default"
    treadle_lease_secs: Annotated[
        float,
        Meta(ge=1, le=YEAR_SECS),
        doc(
            "A run whose worker is silent this long goes to another worker; from 2 on within 2 seconds more."
        ),
    ] = 30
    treadle_stuck_secs: Annotated[
        float,
        Seconds,
        doc(
            "A worker whose event loop is blocked for this long although it has a run to end gives all up and ends itself."
        ),
    ] = 15
    treadle_max_ack_pending: Annotated[
        int, Positive, doc("Threads in work at the same time over all workers of a route.")
    ] = 10_000
    treadle_max_pending_runs: Annotated[
        int,
        NotNegative,
        doc(
            "Runs of a route that may wait to be begun; requests for more are answered with 429. 0: no bound."
        ),
    ] = 100_000
    treadle_nats_creds: Annotated[
        str, doc("Path of a .creds file: the user's JWT and seed ([secrets.md](secrets.md#nats)).")
    ] = ""
    treadle_nats_nkey_seed: Annotated[str, doc("Path of a file with the seed of an nkey, `SU...`.")] = ""
    treadle_nats_tls_ca: Annotated[
        str, doc("Path of the CA certificates that NATS is to have its certificate from; none: the system's.")
    ] = ""
    treadle_nats_tls_cert: Annotated[str, doc("Path of the certificate that proves us to NATS.")] = ""
    treadle_nats_tls_key: Annotated[str, doc("Path of that certificate's key.")] = ""
    treadle_nats_replicas: Annotated[
        int, Positive, doc("Replicas of the JetStream streams: 3 on a NATS cluster.")
    ] = 1
    treadle_nats_api: Annotated[
        Literal["on", "off"], doc("Whether the API answers requests over NATS too, as the service `treadle`.")
    ] = "on"
    treadle_nats_max_requests: Annotated[
        int, Positive, doc("Requests over NATS that an API process is at work on at the same time.")
    ] = 1000
    treadle_nats_wait_secs: Annotated[
        float, Seconds, doc("How long a request over NATS may wait for a result before it has to ask again.")
    ] = 60
    treadle_sweep_interval_secs: Annotated[
        float, Seconds, doc("How often the sweeper looks for runs that nobody was told of.")
    ] = 2
    treadle_sweep_batch: Annotated[int, Positive, doc("Threads that one sweep wakes at the most.")] = 500
    treadle_delay_interval_secs: Annotated[
        float, Seconds, doc("How often the scheduler looks for delayed runs that are due.")
    ] = 0.5
    treadle_cron_interval_secs: Annotated[
        float, Seconds, doc("How often the scheduler looks for crons that are due.")
    ] = 0.5
    treadle_cron_batch: Annotated[int, Positive, doc("Crons whose runs are made in one transaction.")] = 500
    treadle_cron_grace_secs: Annotated[
        float,
        Seconds,
        doc(
            "Ticks of crons that are later than this count as missed; the cron's `on_missed` says what then."
        ),
    ] = 60
    treadle_tick_keep_secs: Annotated[
        float, SecondsOrNone, doc("How long it is kept what came of each tick of a cron.")
    ] = 604800
    treadle_nats_schedules: Annotated[
        Literal["auto", "off"],
        doc(
            "`auto`: NATS wakes delayed runs where it can (2.12). `off`: only the scheduler; set it everywhere."
        ),
    ] = "auto"
    treadle_leader_lease_secs: Annotated[
        float, Seconds, doc("A scheduler that is silent this long loses the lead.")
    ] = 6

    treadle_run_events_interval_secs: Annotated[
        float, Seconds, doc("How often the scheduler looks for lifecycle events of runs to publish.")
    ] = 0.1
    treadle_run_events_max_age_secs: Annotated[
        float,
        SecondsOrNone,
        doc("How long lifecycle events are kept, in NATS or waiting for it; 0: none are published."),
    ] = 86400
    treadle_run_events_max_bytes: Annotated[
        int,
        NotNegative,
        doc("Bytes of lifecycle events that NATS keeps at the most; 0: no bound but their age."),
    ] = 0

    treadle_events_ttl_secs: Annotated[
        float, Seconds, doc("How long the events of a run stay readable after its last event.")
    ] = 3600
    treadle_events_max_batches: Annotated[
        int, Positive, doc("Batches of events kept per run; older ones are dropped.")
    ] = 20_000
    treadle_sse_heartbeat_secs: Annotated[
        float, Seconds, doc("Silence after which a stream sends a heartbeat.")
    ] = 15
    treadle_stream_stall_secs: Annotated[
        float,
        Seconds,
        doc("A client that takes nothing of what is sent to it for this long is cut off."),
    ] = 30

    treadle_http_max_requests: Annotated[
        int,
        Positive,
        doc("Requests over HTTP that an API process is at work on, until their answers begin; more get 503."),
    ] = 1000
    treadle_http_max_body_bytes: Annotated[
        int,
        Positive,
        doc(
            "Bytes of a request's body, or of a frame of a websocket; more get 413 ([limits.md](limits.md))."
        ),
    ] = 64 * 1024 * 1024
    treadle_max_json_depth: Annotated[
        int,
        Meta(ge=10, le=900),
        doc("How deep objects and lists may lie in each other in a request; deeper ones get 422."),
    ] = 100
    treadle_max_batch: Annotated[
        int, Positive, doc("Runs, ids or supersteps that one request may bring; more get 422.")
    ] = 1000
    treadle_max_metadata_bytes: Annotated[
        int, Positive, doc("Bytes of the metadata that a request may bring, as JSON; more get 422.")
    ] = 64 * 1024
    treadle_max_metadata_keys: Annotated[
        int, Positive, doc("Keys of the metadata that a request may bring; more get 422.")
    ] = 256
    treadle_max_metadata_key_chars: Annotated[
        int, Positive, doc("Characters of a key of metadata; longer ones get 422.")
    ] = 256
    treadle_max_page: Annotated[
        int,
        Positive,
        doc(
            "Entries that a search, a list or a history may be asked for at once; more get 422. Searches and histories never give "
            "more than 1,000."
        ),
    ] = 10_000
    treadle_max_streams_per_client: Annotated[
        int,
        NotNegative,
        doc(
            "Answers that stay open (streams, `wait`, `join`) that a client may have at an API process; more get 429. 0: no bound."
        ),
    ] = 5000
    treadle_db_pool_size: Annotated[int, Positive, doc("Postgres connections of a process at the most.")] = 10
    treadle_db_pool_wait_secs: Annotated[
        float, Seconds, doc("How long a request to the API may wait for one of these; then it gets 503.")
    ] = 5
    treadle_fair_share: Annotated[
        Literal["auto", "on", "off"],
        doc(
            "Whether runs wait for their tenant's turn while workers have enough to do ([auth.md](auth.md#fair-shares)); `auto`: where "
            "there may be several tenants (requests prove who sends them), or langgraph.json has `tenants` or `priority`."
        ),
    ] = "auto"
    treadle_rush_secs: Annotated[
        float,
        SecondsOrNone,
        doc(
            "How long workers are not told of background runs while many are asked for at once, so that accepting is not slowed "
            "by executing; for machines that do both (`treadle dev`: 0.5). 0: they are told at once."
        ),
    ] = 0
    treadle_stateless_ttl_secs: Annotated[
        float,
        SecondsOrNone,
        doc("How long the result of an ended stateless run stays readable to its waiter."),
    ] = 60

    treadle_api_keys: Annotated[
        Literal["off", "on"],
        doc(
            "Whether API keys that `treadle keys create` has made say who sends a request over HTTP ([auth.md](auth.md#api-keys))."
        ),
    ] = "off"

    treadle_jwt_issuer: Annotated[
        str,
        doc(
            "Who issues the tokens (JWT) that say who sends a request over HTTP: the `iss` in them; what OpenID Connect publishes "
            "there has the keys ([auth.md](auth.md#tokens-jwt-oidc)). https, or http on this machine."
        ),
    ] = ""
    treadle_jwt_jwks_url: Annotated[
        str, doc("Where the issuer's public keys (JWKS) are, if OpenID Connect's discovery does not say so.")
    ] = ""
    treadle_jwt_audience: Annotated[
        str, doc("The `aud` that tokens must have, several with spaces; required where tokens are accepted.")
    ] = ""
    treadle_jwt_algorithms: Annotated[
        str,
        doc(
            "Algorithms that may sign tokens, with spaces. None that signs with the key that verifies (HS256), and not `none`."
        ),
        Meta(pattern=rf"^{ALGORITHM}([ ,]+{ALGORITHM})*$"),
    ] = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"
    treadle_jwt_leeway_secs: Annotated[
        float,
        Meta(ge=0, le=3600),
        doc("How far the clocks of the issuer and of this machine may be apart."),
    ] = 30
    treadle_jwt_tenant_claim: Annotated[str, doc("The claim of tokens that names the tenant.")] = "tenant"
    treadle_jwt_permissions_claim: Annotated[
        str, doc("The claim of tokens that names permissions: a list, or text with spaces as `scope` has it.")
    ] = "permissions"
    treadle_jwt_default_permissions: Annotated[
        str,
        doc(
            "What tokens without that claim may do, of `read`, `run`, `resume`, `update`, `administer`, with spaces; or `none`."
        ),
        Meta(pattern=rf"^(none|{PERMISSION}([ ,]+{PERMISSION})*)$"),
    ] = "read run resume update"

    treadle_identity_secret: Annotated[
        str,
        doc("Key that verifies who sends requests over NATS, 32 bytes or more; several with spaces."),
    ] = ""
    treadle_identity_required: Annotated[
        Literal["no", "yes"], doc("Whether requests over NATS that do not prove who sends them are refused.")
    ] = "no"

    treadle_auth: Annotated[
        Literal["required", "none"],
        doc(
            "`none`: whoever reaches the API may do everything. `required`: so too on loopback, as long as no way to prove "
            "who asks is set up; on any other address the API does not start then. See [auth.md](auth.md)."
        ),
    ] = "required"

    treadle_webhook_secret: Annotated[
        str,
        doc("Key that signs webhooks, `whsec_` and base64 or any text; several with spaces."),
    ] = ""
    treadle_webhook_allowed_networks: Annotated[
        str, doc("Networks that webhooks may call although they are not public: `127.0.0.0/8, 10.1.0.0/16`.")
    ] = ""
    treadle_webhook_timeout_secs: Annotated[
        float, Seconds, doc("Longest time that one attempt to deliver a webhook may take.")
    ] = 10
    treadle_webhook_max_attempts: Annotated[
        int, Positive, doc("Attempts to deliver a webhook, after which it is given up.")
    ] = 15
    treadle_webhook_max_age_secs: Annotated[
        float, Seconds, doc("How long after the end of its run a webhook is tried at the most.")
    ] = 86400
    treadle_webhook_retry_secs: Annotated[
        float,
        Seconds,
        doc("Pause after the first failed attempt; each pause is twice the last, an hour at most."),
    ] = 5
    treadle_webhook_interval_secs: Annotated[
        float, Seconds, doc("How often the scheduler looks for webhooks that are due.")
    ] = 1
    treadle_webhook_at_once: Annotated[
        int, Positive, doc("Webhooks that the scheduler delivers at the same time.")
    ] = 64
    treadle_webhook_keep_secs: Annotated[
        float, SecondsOrNone, doc("How long the record of a delivered or failed webhook is kept.")
    ] = 604800

    treadle_request_keep_secs: Annotated[
        float,
        SecondsOrNone,
        doc(
            "How long the name of a request over NATS is kept: its repetitions make no second run in this time."
        ),
    ] = 604800
    treadle_audit_keep_secs: Annotated[
        float,
        SecondsOrNone,
        doc("How long it is kept who answered which question ([auth.md](auth.md#approvals)). 0: for ever."),
    ] = 0
    treadle_dead_letter_keep_secs: Annotated[float, Seconds, doc("How long dead letters are kept.")] = 2592000

    treadle_run_keep_secs: Annotated[
        float,
        SecondsOrNone,
        doc("How long an ended run is kept that is not its thread's newest; 0: as long as its thread."),
    ] = 0
    treadle_retention_interval_secs: Annotated[
        float, Seconds, doc("How often the scheduler looks for what has been kept for long enough.")
    ] = 10
    treadle_retention_batch: Annotated[
        int, Positive, doc("Threads or records that one transaction removes at the most.")
    ] = 200

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], doc("Least severe log record that is written.")
    ] = "INFO"
    log_format: Annotated[
        Literal["auto", "json", "text"], doc("`auto`: text on a terminal, else JSON lines.")
    ] = "auto"
    metrics_port: Annotated[
        int, Port, doc("Port for /metrics and /ok of worker and scheduler; 0: none. The API serves its own.")
    ] = 0


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        ConfigError: names each missing variable, or the malformed one with its problem.
    """
    names = {field.name: field.name.upper() for field in msgspec.structs.fields(Settings)}
    given = {field: environ[name] for field, name in names.items() if environ.get(name)}
    required = [field.name.upper() for field in msgspec.structs.fields(Settings) if field.required]
    if missing := [name for name in required if name.lower() not in given]:
        raise ConfigError(
            f"{', '.join(missing)} must be set in the environment. `treadle dev` sets them for you; "
            "docs/settings.md lists all settings."
        )
    if unreadable := [field.upper() for field, value in given.items() if not _is_text(value)]:
        raise ConfigError(f"{unreadable[0]} cannot be used: it is not UTF-8. See docs/settings.md.")
    return _convert(given)


def _is_text(value: str) -> bool:
    """Whether it was UTF-8 in the environment: other bytes are half surrogates here."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _convert(given: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        problem = "it has the wrong form" if "matching regex" in problem else problem
        value = "" if name in SECRETS else f" is {given[name]!r}, which"
        annotation = _annotation(name)
        raise ConfigError(
            f"{name.upper()}{value} cannot be used: {problem}. It takes {_kind(annotation)}: "
            f"{_description(annotation)} See docs/settings.md."
        ) from error


def _annotation(name: str) -> Any:
    return eval(Settings.__annotations__[name], globals())  # noqa: S307 - our own annotations


def table() -> str:
    """The documented table of all settings, as Markdown."""
    rows = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(Settings):
        annotation = _annotation(field.name)
        default = "required" if field.required else f"`{field.default}`" if field.default != "" else "none"
        rows.append(
            f"| `{field.name.upper()}` | {_kind(annotation)} | {default} | {_description(annotation)} |"
        )
    return "\n".join(rows) + "\n"


def _kind(annotation: Any) -> str:
    kind = get_args(annotation)[0]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    return {"str": "text", "int": "a whole number", "float": "seconds"}[kind.__name__]


def _description(annotation: Any) -> str:
    metas = cast(tuple[Meta, ...], get_args(annotation)[1:])
    return next(meta.description for meta in metas if meta.description)


HEADER = """# Settings

Every service reads its settings from the environment, once, when it starts. A missing or malformed one stops
the start with its name. `treadle dev` sets the three addresses itself unless they are already set.
Traces are exported when OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT` is set; its other variables apply too.

This page is made by `make docs` from `shared/treadle/settings.py`.

"""

if __name__ == "__main__":
    import sys

    sys.stdout.write(HEADER + table())
