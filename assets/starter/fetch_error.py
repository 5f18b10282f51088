"""The one exception of the starter pack's programs, with the exit code it leads to.

Why: the launcher and scripts tell "no network" from "broken file" from "disk full" by the exit code; people by the text.
"""

OK, OTHER, USAGE, NETWORK, INTEGRITY, DISK, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class FetchError(Exception):
    """`code` is one of the exit codes above; the text says what was expected, what was found and what to do."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code
