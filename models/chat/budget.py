"""A limit for other people's programs: chat templates, which may loop for longer than anybody waits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

COMPILED = "<template>"  # the file name that Jinja gives its code


class EndlessError(Exception):
    """A template ran for more lines than it was given."""


@contextmanager
def lines(most: int) -> Iterator[None]:
    """Inside it, this thread's templates may run `most` lines of compiled code in all. Raises EndlessError."""
    left = most

    def count(frame: FrameType, event: str, given: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != COMPILED:
            return None
        left -= 1
        if left < 0:
            raise EndlessError
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
