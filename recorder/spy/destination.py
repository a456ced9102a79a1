"""The destinations of a spy: a phone of the house, or the browser. Pure."""

from collections.abc import Collection

from recorder.calls.legs import endpoint_of, live_legs
from recorder.dialling.phones import NOT_FORWARDED, NOWHERE, parse_phone
from recorder.errors import BadDestination, PhoneInCall
from recorder.recording.voices import BROWSER
from storage.records import CallRecord

# A phone that answers by 302, or that transfers the spy, leads Asterisk to these contexts.
STAYS_HERE = {**NOT_FORWARDED, "TRANSFER_CONTEXT": NOWHERE}


def parse_destination(destination: str) -> tuple[str, str] | None:
    """Return technology and endpoint of a phone, or None for the browser.

    Example: `PJSIP/9001` gives `("PJSIP", "9001")`. Raises BadDestination for anything else.
    """
    if destination == BROWSER:
        return None
    try:
        return parse_phone(destination)
    except BadDestination as error:
        raise BadDestination(
            f"{destination!r} is neither a phone (TECH/endpoint) nor the browser"
        ) from error


def refuse_party(technology: str, resource: str, conversation: Collection[CallRecord]) -> None:
    """Raise PhoneInCall if the phone is in one of these calls, or is the phone of its agent."""
    endpoint = f"{technology}/{resource}".casefold()
    inside = {endpoint_of(leg).casefold() for call in conversation for leg in live_legs(call)}
    agents = {call.agent.casefold() for call in conversation if call.agent is not None}
    if endpoint in inside or resource.casefold() in agents:
        raise PhoneInCall(f"{technology}/{resource} is itself in the call")
