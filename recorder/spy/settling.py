"""Settling: connect a supervisor to a call as the plan of the spy says, step by step.

The order of the steps protects the call. First the voice is taken from every leg that must not hear
it any more: this must work even where a later step fails.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import structlog

from recorder.ari import Ari, AriBadRequest, AriConflict, AriNotFound
from recorder.recording.voices import hears_call
from recorder.spy.leftovers import Leftovers
from recorder.spy.listeners import Listener
from recorder.spy.plan import SpyPlan
from recorder.spy.rig import Rig
from storage.errors import LockTimeout

log = structlog.get_logger()

# A channel or bridge that vanished while we worked on it.
VANISHED = (AriNotFound, AriBadRequest, AriConflict)


class Settler:
    """The connections of spies on one PBX. Raises AriError.

    `lock` keeps other processes from changing listening bridges at the same time. `find_heard`
    returns the channels that supervisors hear who are not deaf.
    """

    def __init__(
        self,
        ari: Ari,
        lock: Callable[[], AbstractContextManager[object]],
        leftovers: Leftovers,
        find_heard: Callable[[], Collection[str]],
    ) -> None:
        self._ari = ari
        self._rig = Rig(ari)
        self._lock = lock
        self._leftovers = leftovers
        self._find_heard = find_heard

    def connect(self, listener: Listener, plan: SpyPlan) -> bool:
        """Connect the supervisor as planned; return whether the supervisor hears the target."""
        try:
            heard = self._connect_audio(listener, plan)
        except VANISHED as error:
            log.info("spy.postponed", spy=str(listener.spy.id), error=str(error))
            heard = False
        if not heard and plan.target is not None:
            self._rig.leave(listener.supervisor_channel, keep=plan.target)
        return heard

    def measure(self, listener: Listener, target: str) -> None:
        """Connect the meters that pages have opened; a failure costs the levels, not the audio."""
        try:
            with self._lock():
                self._rig.connect_meters(target)
        except (*VANISHED, LockTimeout) as error:
            log.info("meter.postponed", spy=str(listener.spy.id), error=str(error))

    def disconnect(self, listener: Listener) -> None:
        """Take away the voice and the channels of an ended spy."""
        self._rig.silence(listener)
        for channel_id in dict.fromkeys((listener.supervisor_channel, listener.voice_channel)):
            self._ari.hang_up(channel_id)
        self._leftovers.drop_unheard()

    def _connect_audio(self, listener: Listener, plan: SpyPlan) -> bool:
        rig, spy = self._rig, listener.spy
        rig.hush(listener, keep=plan.heard_by)
        if plan.target is None:
            rig.silence(listener)
            rig.leave(listener.supervisor_channel)
            self._leftovers.drop_unheard()
            return False
        if plan.deaf:
            self._deafen(listener, plan.target)
            self._speak(listener, plan)
            return False
        own = listener.supervisor_channel
        listening = listener.listening_channel(self._ari.application, plan.target)
        if listening != own and self._ari.find_channel(listening) is None:
            return False  # the page has not opened it yet
        if hears_call(spy):  # this is a switch, and a switch must be quick
            self._speak(listener, plan)
        with self._lock():
            changed = rig.listen(plan.target, listener, company=plan.surroundings)
            is_joining = listening != own and listener.joins_listeners()
            if is_joining and self._ari.find_channel(own) is not None:
                rig.join_listeners(plan.target, own)
        # A new listening snoop, even of another spy, removed the talking snoops on the target.
        if changed or plan.heard_by or not hears_call(spy):
            self._speak(listener, plan)
        if changed and hears_call(spy):  # the spy has moved, and may have left an unused bridge
            self._leftovers.drop_unheard()
        return True

    def _deafen(self, listener: Listener, target: str) -> None:
        """Let the supervisor hear nothing; one tone says that this begins.

        The snoops on the target go with the last supervisor who hears it.
        """
        self._rig.leave(listener.supervisor_channel)
        with self._lock():
            if target not in self._find_heard():
                self._rig.rest(target)
        if listener.rests_in_silence:
            begins = hears_call(listener.spy) or listener.spy.live_at is None
            self._rig.begin_silence(listener, with_tone=begins)

    def _speak(self, listener: Listener, plan: SpyPlan) -> None:
        if listener.may_speak(self._ari.find_channel):
            self._rig.speak(listener, plan.heard_by, circle=plan.circle)
