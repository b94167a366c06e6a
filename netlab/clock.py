"""A clock that only moves when told to, so that what happens after 31 seconds can be seen now."""

from netlab.names import NetlabError


class Clock:
    """Seconds since the scenario began."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, seconds: float) -> None:
        """Move on by that many seconds.

        Raises:
            NetlabError: backwards, or not a number.
        """
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise NetlabError(f"advance: {seconds!r} seconds, a clock only moves forward")
        self.now += seconds

    def __repr__(self) -> str:
        return f"<Clock {self.now:g} s>"
