"""The actors of the audit trail that are neither a person nor a token.

A name of an actor is only unique within its kind: a token may not be called `watch`, and
`recorder` writes `watch` with the kind `system`.
"""

from uuid import UUID

from storage.records import Actor

WATCH = Actor("system", "watch")
WORK = Actor("system", "work")
COMMAND_LINE = Actor("system", "command line")
# An attempt to sign in, of somebody whom nobody knows yet.
SIGN_IN = Actor("system", "sign-in")
RULES = Actor("rule", "rules")


def dialplan_actor(pbx: str) -> Actor:
    """Return the actor for the programs of a PBX: its dialplan, or a user event of it."""
    return Actor("dialplan", pbx)


def key_actor(extension: str) -> Actor:
    """Return the actor for the phone of the PBX on which a key was pressed."""
    return Actor("dialplan", extension)


def link_actor(link_id: UUID) -> Actor:
    """Return the actor for whoever opened a link without signing in."""
    return Actor("link", str(link_id))
