"""Supervisors who whisper or barge while nobody can hear them.

The voice is mixed into the frames that the PBX sends to a party. While the other side of the call
sends no RTP, as a muted phone does, no frames flow, and nobody hears the supervisor. No request of
ARI makes them flow for a channel outside of Stasis (measured on 22.10 and 16). The sound itself
cannot be checked, because a snoop copies it before the voice is mixed in. But the PBX counts the
packets that it sends to each party, so a supervisor whom nobody hears is told at once.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import structlog

from recorder import names
from recorder.ari import Ari, AriError, AriUnavailable
from recorder.background import running_in_background
from recorder.recording.voices import BROWSER
from storage.catalogue import spies
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import SpyRecord

log = structlog.get_logger()

LOOK_EVERY_S = 0.3
# Without any spy.
IDLE_S = 1.0
# Nobody hears the supervisor after two looks in which no party was sent anything.
STILL_S = 0.5
# Frames flow again once they did so for this long: silence suppression stops them now and then.
FLOWING_S = 0.5
# A phone gets one tone in this time, and each time later than before: silence suppression stops the
# frames again and again.
TONE_EVERY_S, TONE_EVERY_AT_MOST_S = 5.0, 60.0

# Packets sent to each party that should hear the supervisor; None where the PBX does not count.
Counts = Mapping[str, int | None]


class PacketFlow:
    """The packets that flow to the parties of one supervisor, from look to look. Pure.

    Example: after counts of {"a": 50} at 0.0, 0.3 and 0.6 s nobody hears the supervisor.
    """

    def __init__(self, at: float) -> None:
        self.is_still = False
        self._counts: Counts = {}
        self._flowed_at = self._stood_at = at

    def look(self, counts: Counts, at: float) -> bool:
        """Add the counts of a moment, in seconds of any clock; return whether nothing flows.

        A party that is new, or whose packets are not counted, counts as one that hears.
        """
        flows = any(
            count is None or count != self._counts.get(leg) for leg, count in counts.items()
        )
        self._counts = counts
        if flows:
            self._flowed_at = at
        else:
            self._stood_at = at
        if not flows and at - self._flowed_at >= STILL_S:
            self.is_still = True
        elif flows and at - self._stood_at >= FLOWING_S:
            self.is_still = False
        return self.is_still


class VoiceReach:
    """Notices on one PBX which supervisors nobody hears.

    `tell` gets the channel of a supervisor's phone on which a tone should say so.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ari: Ari,
        pbx: str,
        tell: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._ari = ari
        self._pbx = pbx
        self._tell = tell
        self._clock = clock
        self._flows: dict[UUID, PacketFlow] = {}
        self._tones: dict[UUID, tuple[float, float]] = {}  # when the next is due, and the wait then

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        logged, wait_s = "", IDLE_S
        while not stop.wait(wait_s):
            try:
                wait_s = LOOK_EVERY_S if self.look() else IDLE_S
                logged = ""
            except (AriError, EarwitnessError) as error:
                if logged != str(error):
                    logged = str(error)
                    log.warning("reach.postponed", pbx=self._pbx, error=logged)

    def look(self) -> bool:
        """Look once at every supervisor who whispers or barges, and save each change.

        Return whether there is any spy.
        """
        with self._catalogue.begin() as tx:
            live = spies.list_live_spies(tx, self._pbx)
        talking = [spy for spy in live if spy.state == "live" and spy.mode != "listen"]
        ids = {spy.id for spy in talking}
        self._flows = {id_: flow for id_, flow in self._flows.items() if id_ in ids}
        self._tones = {id_: tone for id_, tone in self._tones.items() if id_ in ids}
        for spy in talking:
            counts = self._count(spy)
            if counts is None:
                self._flows.pop(spy.id, None)
                self._save(spy, unheard=False)
            else:
                now = self._clock()
                flow = self._flows.setdefault(spy.id, PacketFlow(now))
                self._save(spy, unheard=flow.look(counts, now))
        return bool(live)

    def _count(self, spy: SpyRecord) -> Counts | None:
        """Return the packets sent so far to each party; None while the voice goes nowhere yet."""
        bridge = self._ari.find_bridge(names.build_talking_bridge_id(spy.id))
        if bridge is None:
            return None
        parts = [names.parse_spy_part(id_) for id_ in bridge.channel_ids]
        legs = [one.channel_id for one in parts if one and one.kind == "talking-snoop"]
        return {leg: self._count_sent(leg) for leg in legs if leg is not None}

    def _count_sent(self, leg: str) -> int | None:
        try:
            return self._ari.get_rtp_sent(leg)
        except AriUnavailable:
            raise
        except AriError:  # it has no RTP, or is gone
            return None

    def _save(self, spy: SpyRecord, *, unheard: bool) -> None:
        if spy.unheard is unheard:
            return
        with self._catalogue.begin() as tx:
            saved = spies.set_unheard(tx, spy.id, unheard=unheard)
        if saved is None:
            return
        log.info("spy.unheard" if unheard else "spy.heard-again", spy=str(spy.id))
        now = self._clock()
        due_at, wait_s = self._tones.get(spy.id, (now, TONE_EVERY_S))
        if unheard and spy.destination != BROWSER and now >= due_at:
            self._tones[spy.id] = (now + wait_s, min(2 * wait_s, TONE_EVERY_AT_MOST_S))
            self._tell(names.build_phone_id(spy.id))


@contextmanager
def noticing_unheard(
    catalogue: Catalogue, ari: Ari, pbx: str, tell: Callable[[str], object]
) -> Iterator[None]:
    """Notice supervisors whom nobody hears, in a thread, for as long as this context lasts."""
    reach = VoiceReach(catalogue, ari, pbx, tell)
    with running_in_background(reach.run, f"reach-{pbx}"):
        yield
