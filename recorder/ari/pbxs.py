"""The PBXs of this process, by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from recorder.ari.client import Ari
from recorder.ari.errors import AriError
from recorder.errors import PbxUnavailable


class Pbxs(Mapping[str, Ari]):
    """The ARI clients of this process, by the name of their PBX."""

    def __init__(self, clients: Mapping[str, Ari]) -> None:
        self._clients = dict(clients)

    def __getitem__(self, name: str) -> Ari:
        return self._clients[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    @contextmanager
    def reach(self, name: str) -> Iterator[Ari]:
        """Yield the client of a PBX, and turn an ARI error of the block into PbxUnavailable.

        Example: `with pbxs.reach("main") as ari: ari.hang_up(channel_id)`. Raises PbxUnavailable
        also where this process knows no PBX of that name.
        """
        if name not in self._clients:
            raise PbxUnavailable(f"no PBX named {name} is configured here")
        try:
            yield self._clients[name]
        except AriError as error:
            raise PbxUnavailable(f"PBX {name}: {error}") from error
