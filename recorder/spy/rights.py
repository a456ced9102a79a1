"""The modes in which the owner of a spy may use it now. Pure.

A spy outlives the request that started it. Its owner, a token or a session, can lose the right
meanwhile, the agent can change the team, and the call can go to another team. So these questions
are asked when the spy is written, at every settle, at every switch and at every check.
"""

from storage.catalogue.rights import Rights
from storage.permissions import SPIES_READ, modes_of
from storage.records import AfterTransfer, CallRecord, Mode, SpyRecord


def modes_on(rights: Rights | None, agent: str | None) -> tuple[Mode, ...]:
    """Return the modes in which the owner of these rights may spy on a call of this agent.

    An owner that was removed has no rights, None.
    """
    if rights is None or not rights.sees(agent) or not rights.may(SPIES_READ):
        return ()
    return modes_of(rights.permissions)


def modes_of_spy(
    spy: SpyRecord,
    call: CallRecord,
    rights: Rights | None,
    *,
    after_transfer: AfterTransfer,
) -> tuple[Mode, ...]:
    """Return the modes that a spy may have on this call now; without any it has to end.

    Example: Ann may see the agents of her team alone. She listens to a call of 2001, which goes to
    2003 of another team: she may go on in `listen` with `after_transfer="listen"`, else not at all.
    """
    first = spy.agent if spy.agent is not None else call.agent
    on_first = modes_on(rights, first)
    if spy.follow == "agent" or call.agent in (None, first):
        return on_first
    on_present = modes_on(rights, call.agent)
    if on_present or not on_first or after_transfer == "end":
        return on_present
    return ("listen",) if "listen" in on_first else ()
