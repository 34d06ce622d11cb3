"""What goes wrong between the client and the server, as Treadle's own errors."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

import httpx
from langgraph_sdk.errors import APIStatusError

from treadle.errors import Conflict, InvalidRequest, NotFound, TreadleError, Unavailable

_BY_STATUS = {404: NotFound, 409: Conflict, 422: InvalidRequest}


@contextmanager
def server_errors(url: str) -> Generator[None]:
    """Raise an error that names the server and says what to do.

    Raises:
        Unavailable: nobody answers at the address, or the connection broke.
        TreadleError: the server refused the request; NotFound, Conflict and InvalidRequest by their status.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unavailable(
            f"No server answers at {url} ({error or type(error).__name__}). Start one with `treadle dev`, or name "
            "the one that you mean with --url or TREADLE_URL."
        ) from error
    except APIStatusError as error:
        raise _BY_STATUS.get(error.status_code, TreadleError)(
            f"The server at {url} refused the request ({error.status_code}): {' '.join(error.message.split())}"
        ) from error
    except json.JSONDecodeError as error:
        raise TreadleError(
            f"What answers at {url} is no Agent Server. Name the one that you mean with --url or TREADLE_URL."
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(
            f"The connection to the server at {url} broke: {error or type(error).__name__}. A run that it has "
            "accepted goes on there; its state and its result stay on its thread."
        ) from error
