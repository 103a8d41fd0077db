"""The error of this folder. Every message is one sentence that may be shown to a user as it stands."""


class ModelError(ValueError):
    """A model or checkpoint that cannot be used; the message says what was tried and what would work.

    `page` is the sentence for whoever has no command line; the same where not given.
    """

    def __init__(self, sentence: str, page: str = "") -> None:
        super().__init__(sentence)
        self.page = page or sentence
