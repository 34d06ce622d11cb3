"""Treadle's errors as those of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from a2a.utils.errors import A2AError, InternalError, InvalidParamsError, UnsupportedOperationError

from treadle.errors import Conflict, InvalidRequest, NotFound, TreadleError

log = logging.getLogger(__name__)


@contextmanager
def told() -> Generator[None]:
    """Raise what a client can make use of; a defect of ours goes into the log, and no further.

    Raises:
        A2AError: whatever went wrong in the block.
    """
    try:
        yield
    except A2AError:
        raise
    except (InvalidRequest, NotFound) as error:
        raise InvalidParamsError(str(error)) from error
    except Conflict as error:
        raise UnsupportedOperationError(str(error)) from error
    except TreadleError as error:
        log.warning("a2a: %s", error)
        raise InternalError(str(error)) from error
    except Exception as error:
        log.exception("a2a: a message could not be answered")
        raise InternalError("Internal server error; the server's log says more.") from error
