"""The one error a user may read. Every message is one sentence that says what is allowed."""


class PlaygroundError(ValueError):
    """Something the user can put right; its message may be shown as it stands. The command line exits with 2."""
