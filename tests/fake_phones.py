"""A PBX in memory that rings phones."""

from collections.abc import Callable
from typing import Any

from recorder.ari import AriUnavailable, Endpoint


class FakePhones:
    """A PBX with the phones 2001 and 2002; each originate is one ring."""

    application = "earwitness"

    def __init__(self) -> None:
        self.channels: dict[str, str] = {}  # channel id → phone
        self.rings: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.before_ring: Callable[[], None] = lambda: None

    def find_endpoint(self, technology: str, resource: str) -> Endpoint | None:
        """Return a phone, in the words of the PBX."""
        name = f"{technology.upper()}/{resource}"
        inside = tuple(id_ for id_, phone in self.channels.items() if phone == name)
        known = technology.upper() == "PJSIP" and resource in {"2001", "2002", "trunk"}
        return Endpoint(technology.upper(), resource, "online", inside) if known else None

    def has_endpoints(self, technology: str) -> bool:
        """Whether it has phones of this technology."""
        return technology == "PJSIP"

    def originate(self, phone: str, *, channel_id: str, **how: Any) -> None:
        """Ring a phone."""
        self.before_ring()
        if self.fault is not None:
            raise self.fault
        self.rings.append({"phone": phone, "channel_id": channel_id, **how})
        self.channels[channel_id] = phone

    def find_channel(self, channel_id: str) -> str | None:
        """Return a channel, or None."""
        return self.channels.get(channel_id)

    def hang_up(self, channel_id: str) -> bool:
        """End a channel."""
        if isinstance(self.fault, AriUnavailable):
            raise self.fault
        return self.channels.pop(channel_id, None) is not None
