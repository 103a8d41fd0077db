"""What was stored and no longer is itself: one error for it, wherever it is noticed.

SQLite types values, not columns, and a flipped bit can leave anything where a value was. So whatever fails while a
stored value is read is damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playground.errors import FaultError, PlaygroundError


class DamageError(FaultError):
    """A stored value, row or trace that has changed since it was stored. A visitor is told no more than that."""

    def __init__(self, sentence: str, page: str = "What was stored of this is damaged; tell the operator.") -> None:
        super().__init__(sentence, page)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Any failure inside is said as damage of `what`; a refusal that is a sentence already passes through."""
    try:
        yield
    except PlaygroundError:
        raise
    except Exception as error:  # see above: there is no list of what may happen
        raise DamageError(f"{what} is damaged ({type(error).__name__}); restore the database from a copy.") from None
