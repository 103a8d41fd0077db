"""The error of this folder. Every message is one sentence that may be shown to a user as it stands."""


class ModelError(ValueError):
    """A model or checkpoint that cannot be used; the message says what was tried and what would work."""
