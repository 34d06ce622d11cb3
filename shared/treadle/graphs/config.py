"""langgraph.json: what it says, validated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from treadle.errors import ConfigError
from treadle.graphs.approvals import ApprovalRule, checked_approvals
from treadle.graphs.auth import AuthSection
from treadle.graphs.envfile import read_env_file
from treadle.graphs.http import Http, checked
from treadle.graphs.storage import (
    CheckpointerSection,
    StoreSection,
    checked_checkpointer,
    checked_store,
)
from treadle.graphs.tenants import TenantSection, checked_tenants
from treadle.graphs.webhooks import WebhooksSection, checked_webhooks

# A graph id is a path segment of URLs and part of subjects.
GRAPH_ID = re.compile(r"^[^/\s?#]{1,128}$")


class GraphEntry(msgspec.Struct, frozen=True):
    """Where a graph comes from: `./file.py:attribute` or `package.module:attribute`."""

    path: str
    description: str | None = None


class EncryptionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Encryption of the user's own: where its `langgraph_sdk.Encryption` is."""

    path: str


class PrioritySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs go first: where the user's `langgraph_sdk.Priority` is."""

    path: str


class ConfigFile(msgspec.Struct, frozen=True):
    """The keys of langgraph.json that Treadle reads; others are left to the tools that know them.

    The values of `graphs` and `env` are validated one by one, so that an error names the one that it means.
    """

    graphs: dict[str, Any]
    dependencies: list[str] = []
    env: str | dict[str, Any] = {}
    store: StoreSection | None = None
    checkpointer: CheckpointerSection | None = None
    http: Http | None = None
    webhooks: WebhooksSection | None = None
    auth: AuthSection | None = None
    encryption: EncryptionSection | None = None
    tenants: dict[str, TenantSection] = {}
    priority: PrioritySection | None = None
    approvals: list[ApprovalRule] = []


class Config(msgspec.Struct, frozen=True):
    """A langgraph.json with its paths made absolute and its environment read."""

    path: Path
    graphs: Mapping[str, GraphEntry]
    import_paths: tuple[Path, ...]
    env: Mapping[str, str]
    store: StoreSection = StoreSection()
    checkpointer: CheckpointerSection = CheckpointerSection()
    http: Http = Http()
    webhooks: WebhooksSection = WebhooksSection()
    auth: AuthSection = AuthSection()
    encryption: str | None = None
    tenants: Mapping[str, TenantSection] = {}
    priority: str | None = None
    approvals: Sequence[ApprovalRule] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent


def read_config(path: Path) -> Config:
    """Read and validate a langgraph.json.

    Raises:
        ConfigError: names the file, the key, the problem and the way out.
    """
    path = path.expanduser().resolve()
    file = _parse(path)
    if not file.graphs:
        raise ConfigError(f'{path}: `graphs` is empty. Name at least one: {{"agent": "./agent.py:graph"}}.')
    return Config(
        path=path,
        graphs={graph_id: _entry(path, graph_id, entry) for graph_id, entry in file.graphs.items()},
        import_paths=(path.parent, *_import_paths(path, file.dependencies)),
        env=_environment(path, file.env),
        store=checked_store(path, file.store or StoreSection()),
        checkpointer=checked_checkpointer(path, file.checkpointer or CheckpointerSection()),
        http=_http(path, file.http or Http()),
        webhooks=checked_webhooks(path, file.webhooks or WebhooksSection()),
        auth=_auth(path, file.auth or AuthSection()),
        encryption=_encryption(path, file),
        tenants=checked_tenants(path, file.tenants),
        priority=_priority(path, file.priority),
        approvals=checked_approvals(path, file.approvals, file.graphs),
    )


def _encryption(path: Path, file: ConfigFile) -> str | None:
    """Where the `Encryption` object is. Whoever asks for it must not find the data plain."""
    if file.encryption is None:
        return None
    _reference(path, "encryption.path", file.encryption.path)
    if file.checkpointer is not None and file.checkpointer.path is not None:
        raise ConfigError(
            f"{path}: `encryption` would not be heeded: `checkpointer.path` names a checkpointer of its own, which encrypts by "
            "itself or not at all. Take one of them out."
        )
    return file.encryption.path


def _http(path: Path, http: Http) -> Http:
    if http.app is not None:
        _reference(path, "http.app", http.app)
    return checked(http, path)


def _auth(path: Path, auth: AuthSection) -> AuthSection:
    if auth.path is not None:
        _reference(path, "auth.path", auth.path)
    return auth


def _priority(path: Path, priority: PrioritySection | None) -> str | None:
    if priority is None:
        return None
    _reference(path, "priority.path", priority.path)
    return priority.path


def _parse(path: Path) -> ConfigFile:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ConfigFile)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. Name your langgraph.json with --config.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        raise _refused(path, "", error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error


def _refused(path: Path, key: str, error: msgspec.ValidationError) -> ConfigError:
    """The error for a value of the wrong shape at `key`, or at a place inside of it."""
    problem, _, inside = str(error).partition(" - at `$")
    where = (key + inside.rstrip("`")).lstrip(".")
    named = f"`{where}`" if where else "the file"
    return ConfigError(f"{path}: {named}: {problem}. docs/langgraph-json.md shows what it takes.")


def _entry(path: Path, graph_id: str, value: Any) -> GraphEntry:
    if not GRAPH_ID.match(graph_id):
        raise ConfigError(
            f"{path}: `graphs` has the id {graph_id!r}: an id is 1 to 128 characters without '/', '?', '#' or spaces."
        )
    try:
        entry = GraphEntry(value) if isinstance(value, str) else msgspec.convert(value, GraphEntry)
    except msgspec.ValidationError as error:
        raise _refused(path, f"graphs.{graph_id}", error) from error
    _reference(path, f"graphs.{graph_id}", entry.path)
    return entry


def _reference(path: Path, key: str, value: str) -> None:
    """Refuse what does not name an attribute of a file or a module."""
    module, colon, attribute = value.rpartition(":")
    if not (colon and module and attribute.isidentifier()):
        raise ConfigError(
            f"{path}: `{key}` is {value!r}: write './file.py:attribute' or 'package.module:attribute'."
        )


def _import_paths(path: Path, dependencies: list[str]) -> list[Path]:
    """The folders among the dependencies; package names are for installers."""
    named = [path.parent / item for item in dependencies if item.startswith(".")]
    found = [_folder(each) for each in named]
    if missing := [str(each) for each, folder in zip(named, found, strict=True) if folder is None]:
        raise ConfigError(
            f"{path}: `dependencies` names folders that do not exist: {', '.join(missing)}. "
            "Make them or take them out; paths count from the folder of this file."
        )
    return [folder for folder in found if folder is not None]


def _folder(path: Path) -> Path | None:
    """The folder that a path leads to, if it leads to one, and can be a path at all."""
    try:
        folder = path.resolve()
        return folder if folder.is_dir() else None
    except (OSError, ValueError):
        return None


def _environment(path: Path, env: str | Mapping[str, Any]) -> dict[str, str]:
    if isinstance(env, str):
        found = read_env_file(path.parent / env, f"{path}: `env`")
    else:
        found = {name: _variable(path, name, value) for name, value in env.items()}
    for name, value in found.items():
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(
                f"{path}: `env` has the variable {name!r}, which no environment can hold: leave out NUL, and '=' in its name."
            )
    return found


def _variable(path: Path, name: str, value: Any) -> str:
    try:
        plain = msgspec.convert(value, str | int | float | bool)
    except msgspec.ValidationError as error:
        raise _refused(path, f"env.{name}", error) from error
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
