"""Channels and bridges of spies on a PBX that no live spy needs.

A process may die between any two steps. Its leftovers cost the PBX audio, and would keep a
supervisor's voice in a call, so the watcher sweeps them away.

Parts of another Earwitness on the same PBX stay: their names carry another instance, or a spy that
our catalogue does not know. A spy's row comes before its parts.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from uuid import UUID

import structlog

from recorder import names
from recorder.ari import Ari
from recorder.spy.rig import Rig

log = structlog.get_logger()


class Leftovers:
    """The leftovers on one PBX.

    `find_needed` returns the ids of the live spies and of the channels that they listen to;
    `find_known` returns those spies, live or ended, that our catalogue has; `lock` keeps other
    processes from changing listening bridges. Raises AriError.
    """

    def __init__(
        self,
        ari: Ari,
        lock: Callable[[], AbstractContextManager[object]],
        find_needed: Callable[[], frozenset[str]],
        find_known: Callable[[Collection[UUID]], frozenset[UUID]],
    ) -> None:
        self._ari = ari
        self._lock = lock
        self._find_needed = find_needed
        self._find_known = find_known

    def sweep(self) -> None:
        """Remove every channel and bridge of our spies that no live spy needs."""
        with self._lock():
            bridges, channels = self._ari.list_bridges(), self._ari.list_channels(prefix=names.OURS)
            needed = self._find_needed()  # after the lists, because a spy's row comes first
            parts = {
                id_: part
                for id_ in [*(one.id for one in bridges), *(one.id for one in channels)]
                if (part := names.parse_spy_part(id_)) is not None
                and (str(part.spy_id) if part.spy_id else part.channel_id) not in needed
            }
            known = self._find_known({part.spy_id for part in parts.values() if part.spy_id})
            ours = {
                id_
                for id_, part in parts.items()
                if part.instance == self._ari.application
                or (part.instance is None and part.spy_id in known)
            }
            for channel in (one for one in channels if one.id in ours):
                log.info("leftover.removed", channel=channel.id)
                self._ari.hang_up(channel.id)
            for bridge in (one for one in bridges if one.id in ours):
                log.info("leftover.removed", bridge=bridge.id)
                self._ari.destroy_bridge(bridge.id)

    def drop_unheard(self) -> None:
        """Remove every listening bridge whose channel no live spy listens to.

        It lists bridges alone: there may be thousands of channels.
        """
        with self._lock():
            bridges = self._ari.list_bridges()
            needed = self._find_needed()
            for bridge in bridges:
                part = names.parse_spy_part(bridge.id)
                if part is None or part.kind != "listening-bridge" or part.channel_id in needed:
                    continue
                if part.instance == self._ari.application:
                    Rig(self._ari).drop(str(part.channel_id))
