"""The modes in which the owner of a spy may use it now. Pure.

A spy outlives the request that started it. Its owner, a token or a session, can lose the right
meanwhile, the agent can change the team, and the call can go to another team. So these questions
are asked when the spy is written, at every settle, at every switch and at every check.
"""

from collections.abc import Collection

from storage.permissions import SPIES_READ, modes_of, permissions_of
from storage.records import AfterTransfer, CallRecord, Mode, SpyRecord, TokenRecord


def modes_on(
    owner: TokenRecord | None, visible: Collection[str] | None, agent: str | None
) -> tuple[Mode, ...]:
    """Return the modes in which the owner may spy on a call of this agent.

    `visible` are the agents whose calls the owner may see, None is all. An owner that is None has
    been removed, and may nothing.
    """
    if owner is None or (visible is not None and agent not in visible):
        return ()
    permissions = permissions_of(owner)
    return modes_of(permissions) if SPIES_READ in permissions else ()


def modes_of_spy(
    spy: SpyRecord,
    call: CallRecord,
    owner: TokenRecord | None,
    visible: Collection[str] | None,
    *,
    after_transfer: AfterTransfer,
) -> tuple[Mode, ...]:
    """Return the modes that a spy may have on this call now; without any it has to end.

    Example: Ann may see the agents of her team alone. She listens to a call of 2001, which goes to
    2003 of another team: she may go on in `listen` with `after_transfer="listen"`, else not at all.
    """
    first = spy.agent if spy.agent is not None else call.agent
    on_first = modes_on(owner, visible, first)
    if spy.follow == "agent" or call.agent in (None, first):
        return on_first
    on_present = modes_on(owner, visible, call.agent)
    if on_present or not on_first or after_transfer == "end":
        return on_present
    return ("listen",) if "listen" in on_first else ()
