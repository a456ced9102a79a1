"""Channels and bridges of spies on a PBX that no live spy needs.

A process may die between any two steps. Its leftovers cost the PBX audio, and would keep a
supervisor's voice in a call, so the watcher sweeps them away.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from recorder import names
from recorder.ari import Ari, Channel
from recorder.spy.rig import Rig

log = structlog.get_logger()


class Leftovers:
    """The leftovers on one PBX.

    `find_needed` returns the ids of the live spies and of the channels that they listen to; `lock`
    keeps other processes from changing listening bridges. Raises AriError.
    """

    def __init__(
        self,
        ari: Ari,
        lock: Callable[[], AbstractContextManager[object]],
        find_needed: Callable[[], frozenset[str]],
    ) -> None:
        self._ari = ari
        self._lock = lock
        self._find_needed = find_needed

    def sweep(self) -> None:
        """Remove every channel and bridge of spies that no live spy needs.

        Parts of another program's spies stay, for example those of `doctor --media`.
        """
        with self._lock():
            bridges, channels = self._ari.list_bridges(), self._ari.list_channels(prefix=names.OURS)
            needed = self._find_needed()  # after the lists, because a spy's row comes first
            foreign = {one.id for one in channels if self._is_foreign(one)}
            for channel in channels:
                if channel.id not in foreign and _is_unneeded(channel.id, needed):
                    log.info("leftover.removed", channel=channel.id)
                    self._ari.hang_up(channel.id)
            for bridge in bridges:
                if foreign.isdisjoint(bridge.channel_ids) and _is_unneeded(bridge.id, needed):
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
                inside = (self._ari.find_channel(id_) for id_ in bridge.channel_ids)
                if not any(one is not None and self._is_foreign(one) for one in inside):
                    Rig(self._ari).drop(str(part.channel_id))

    def _is_foreign(self, channel: Channel) -> bool:
        """Whether the channel is in the Stasis application of another program.

        Its dialplan fields name the application, and are empty before it enters one.
        """
        entered = channel.dialplan.app_name == "Stasis"
        return entered and channel.dialplan.app_data.split(",")[0] != self._ari.application


def _is_unneeded(id_: str, needed: frozenset[str]) -> bool:
    part = names.parse_spy_part(id_)
    if part is None:
        return False
    owner = str(part.spy_id) if part.spy_id is not None else part.channel_id
    return owner not in needed
