"""Progress on stderr: one line per item; on a terminal a bar that is redrawn in place while the item runs.

Why: a first start fetches hundreds of MB and must show that it lives; in a log file bars would be noise.
"""

import sys
import time

MB = 1e6


class Progress:
    """`stream` is where lines go (stderr). Not for several threads at once."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
        self.on_terminal = self.stream.isatty()
        self.last_drawn = 0.0
        self.width = 0

    def line(self, text):
        """Prints a whole line, over the bar if one is shown."""
        self.stream.write(f"\r{text.ljust(self.width)}\n" if self.width else text + "\n")
        self.stream.flush()
        self.width = 0

    def bar(self, label, done, total):
        """Redraws the bar at most ten times a second; does nothing where output is not a terminal."""
        now = time.monotonic()
        if not self.on_terminal or now - self.last_drawn < 0.1:
            return
        self.last_drawn = now
        share = min(1.0, done / total) if total else 0.0
        text = f"{label} [{'#' * int(24 * share):<24}] {done / MB:.0f}/{total / MB:.0f} MB"
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)
