"""The gate between a page's microphone and the PBX. Pure.

A switch of mode takes time: the row changes first, then the PBX, and the page answers last. Speech
must reach only the people whom its mode names, so the gate compares three modes:

    written        the mode in the spy's row
    on_pbx         the mode to which the PBX was brought; None while that is unknown
    acknowledged   the mode that the page sent last; None where the page never answers

Example: after a switch from whisper to barge the gate stays closed until the PBX is at barge and
the page has answered "barge". The last words of the whisper are dropped.
"""

from storage.records import Mode


class ModeGate:
    """The three modes of one page, and the decision whether its voice may go on."""

    def __init__(self, written: Mode) -> None:
        self.written: Mode = written
        self.on_pbx: Mode | None = None
        self.acknowledged: object = None

    def write(self, mode: Mode) -> None:
        """Take over the mode of the row.

        After `listen`, when another mode was on its way and this is a third one, the PBX may be at
        the other one already: its mode is unknown from now on.
        """
        if self.on_pbx == "listen" and self.written not in ("listen", mode):
            self.on_pbx = None
        self.written = mode

    def may_send(self) -> bool:
        """Return whether a frame from the microphone may go to the PBX now.

        The gate need not wait for the PBX after `listen`, in which nobody hears the supervisor: the
        PBX goes from there to the written mode and to no other.
        """
        return (
            self.written != "listen"
            and self.on_pbx in ("listen", self.written)
            and self.acknowledged in (None, self.written)
        )

    def reaches_listeners(self) -> bool:
        """Return whether other supervisors hear the page, as they do when it barges."""
        return self.on_pbx == "barge"
