"""The one error a user may read. Every message is one sentence that says what is allowed."""


class PlaygroundError(ValueError):
    """Something the user can put right; its message may be shown as it stands. The command line exits with 2.

    `page` is the sentence for a visitor of the page, who has fields and buttons instead of flags; the same where not given.
    """

    def __init__(self, sentence: str, page: str = "") -> None:
        super().__init__(sentence)
        self.page = page or sentence
