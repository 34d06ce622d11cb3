"""Parts of the user's own that langgraph.json names by path: a store, a checkpointer."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from typing import Any, TypeVar, cast

from treadle.errors import ConfigError
from treadle.graphs.config import Config
from treadle.graphs.loader import GraphImportError, named

Part = TypeVar("Part")


@asynccontextmanager
async def open_custom(config: Config, key: str, path: str, kind: type[Part]) -> AsyncGenerator[Part]:
    """What a path names, for as long as the block lasts.

    It may be an instance; a function, plain or async, that returns one; or a context manager, plain or async, that
    gives one, and is left at the end.

    Args:
        key: where langgraph.json names it, for errors.

    Raises:
        GraphImportError: the user's code raised.
        ConfigError: what it gives is something else.
    """
    where = f"{config.path}: `{key}` ({path})"
    async with AsyncExitStack() as stack:
        try:
            part = await _made(stack, named(config, path, where), kind)
        except ConfigError:
            raise
        except Exception as error:
            raise GraphImportError(f"{where} could not be opened: {type(error).__name__}: {error}") from error
        if not isinstance(part, kind):
            raise ConfigError(
                f"{where} gives a {type(part).__name__}: it must give a {kind.__name__}, or be a function or context "
                "manager that does."
            )
        yield part


async def _made(stack: AsyncExitStack, found: Any, kind: type[Any]) -> Any:
    made = found() if callable(found) and not isinstance(found, kind) else found
    if inspect.isawaitable(made):
        made = await made
    if isinstance(made, kind):  # many are context managers too, to be entered by whoever made them
        return made
    if isinstance(made, AbstractAsyncContextManager):
        return await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", made))
    if isinstance(made, AbstractContextManager):
        return stack.enter_context(cast("AbstractContextManager[Any]", made))
    return made
