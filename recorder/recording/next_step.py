"""The next step for the people of a call after the rules have decided. Pure.

    scene, rules, announcements → start | announce | settle | wait | nothing

The watcher takes the step, and asks again when the call changes or after five seconds, until the
step is `nothing`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from recorder.calls.conversations import Conversation
from recorder.calls.legs import audible_legs
from recorder.recording.coverage import Scene, cover, find_starter
from storage.records import RuleRecord


@dataclass(frozen=True, slots=True)
class NextStep:
    """One step for the call `call_id`.

    `announce` has the channels that hear the sound of `rule`, `settle` the recordings that a rule
    ends.
    """

    action: Literal["start", "announce", "settle", "wait", "nothing"]
    call_id: str = ""
    rule: RuleRecord | None = None
    channel_ids: tuple[str, ...] = ()
    recording_ids: tuple[UUID, ...] = ()


NOTHING = NextStep("nothing")


def next_step(
    scene: Scene,
    call_id: str,
    rules: Mapping[str, RuleRecord | None],
    announced: Collection[str],
    announcing: Collection[str],
) -> NextStep:
    """Return the next step for the conversations of a live call.

    `rules` has the rule that decided about each call of the scene, None for the default.
    `announced` are the channels that have heard an announcement, `announcing` the calls to which
    one plays now.
    """
    ending = tuple(one.id for one in scene.recordings if cover(scene, one).is_forbidden)
    if ending:
        return NextStep("settle", call_id, recording_ids=ending)
    steps = [
        _step_for(scene, one, rules, announced, announcing)
        for one in scene.conversations_with(call_id)
    ]
    pressing = [step for step in steps if step.action not in ("wait", "nothing")]
    waiting = [step for step in steps if step.action == "wait"]
    return next(iter(pressing + waiting), NOTHING)


def _step_for(
    scene: Scene,
    conversation: Conversation,
    rules: Mapping[str, RuleRecord | None],
    announced: Collection[str],
    announcing: Collection[str],
) -> NextStep:
    owner, starter = scene.find_owner(conversation), find_starter(scene, conversation)
    # The rule of the call that starts a recording, or has one, also announces it to newcomers.
    if starter is not None:
        call_id = starter.id
    elif owner is not None and scene.wants(conversation) and owner.call_id in rules:
        call_id = owner.call_id
    else:
        return NOTHING
    if call_id not in rules:  # its rules were not evaluated here yet
        return NextStep("wait", call_id)
    rule = rules[call_id]
    # Without a rule (the default records) a recording starts with the conversation.
    begins = rule.begins if rule is not None else "answer"
    is_audible = conversation.is_talk
    if begins != "answer":
        is_audible = is_audible or bool(audible_legs(scene.calls[call_id]))
    if not is_audible or call_id in announcing:
        return NextStep("wait", call_id)
    if rule is not None and rule.announcement is not None:
        unannounced = tuple(
            leg.id
            for leg in conversation.legs
            if leg.id not in announced
            and (conversation.is_talk or leg.joined_at is not None)
            and (rule.announce_to == "both" or leg.party == "customer")
        )
        if unannounced:
            return NextStep("announce", call_id, rule, unannounced)
    return NextStep("start", call_id, rule) if starter is not None else NOTHING
