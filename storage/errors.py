"""The errors of the whole program and of the catalogue, on one page.

    EarwitnessError
    ├── ConfigurationInvalid        the configuration is wrong; names file, key, expectation
    ├── NoSuchCall
    ├── NoSuchRecording
    ├── NoSuchSpy
    ├── NoSuchDial
    ├── NoSuchConference
    ├── NoSuchMember                the conference has no member with this id
    ├── ConferenceNameTaken         the PBX has an open conference of this name
    ├── NoSuchRule
    ├── NoSuchToken
    ├── NoSuchUser
    ├── NoSuchAgent
    ├── NoSuchJob                   there is no failed job of this id
    ├── LastAdmin                   without this user nobody could manage the service
    ├── NoSuchSearch
    ├── NoSuchBulk
    ├── NoSuchTrial
    ├── TooMany                     more recordings than one request may change
    ├── NoSuchLink
    ├── NoSuchWebhook
    ├── WebhookStopped              its maker is gone, or may no longer have webhooks
    ├── NoSuchCallback
    ├── NoSuchCampaign
    ├── NoSuchCampaignAgent         the campaign has no such agent
    ├── NoSuchNumber                the number is not on the do-not-call list
    ├── RuleReadOnly                a rule of the configuration changes only there
    ├── RuleChanged                 another person has changed the rule meanwhile
    ├── NameInvalid                 a name has a character that nobody sees, or is reserved
    ├── TokenInvalid                the name of the token is taken
    ├── UserInvalid                 the name is taken, or the password breaks a rule
    ├── UserOfProvider              an identity provider gives this user name, role and team
    ├── AgentInvalid                the list has the agent already, or a name breaks a rule
    ├── AgentListInvalid            a CSV of agents cannot be read
    ├── AudioNotStored              the recording has no rendition
    ├── ManifestInvalid             a manifest has a wrong signature or form
    ├── CatalogueUnavailable        PostgreSQL does not answer
    │   └── LockTimeout             another process holds a lock for longer than the caller waits
    ├── BadCursor                   a cursor of a list is not ours
    └── IdempotencyKeyReused        one Idempotency-Key for two different requests

The errors of the object store are in `storage/objects/errors.py`, those of the call side in
`recorder/errors.py`.

A message is a sentence for a person and holds no secret, no path and no traceback. `error_id` is
for programs and never changes.
"""

from typing import ClassVar


class EarwitnessError(Exception):
    """An error that Earwitness knows by name."""

    error_id: ClassVar[str] = "internal-error"


class ConfigurationInvalid(EarwitnessError):
    """The configuration is wrong; the message names file, key and expectation."""

    error_id = "configuration-invalid"


class NoSuchCall(EarwitnessError):
    """There is no call of this id."""

    error_id = "no-such-call"


class NoSuchRecording(EarwitnessError):
    """There is no recording of this id."""

    error_id = "no-such-recording"


class NoSuchSpy(EarwitnessError):
    """There is no spy of this id."""

    error_id = "no-such-spy"


class NoSuchDial(EarwitnessError):
    """There is no dialled call of this id."""

    error_id = "no-such-dial"


class NoSuchConference(EarwitnessError):
    """There is no conference of this id."""

    error_id = "no-such-conference"


class NoSuchMember(EarwitnessError):
    """The conference has no member of this id."""

    error_id = "no-such-member"


class ConferenceNameTaken(EarwitnessError):
    """The PBX has an open conference of this name."""

    error_id = "conference-name-taken"


class NoSuchRule(EarwitnessError):
    """There is no rule of this id."""

    error_id = "no-such-rule"


class NoSuchToken(EarwitnessError):
    """There is no token of this id."""

    error_id = "no-such-token"


class NoSuchUser(EarwitnessError):
    """There is no user of this id."""

    error_id = "no-such-user"


class NoSuchAgent(EarwitnessError):
    """There is no agent of this name."""

    error_id = "no-such-agent"


class NoSuchJob(EarwitnessError):
    """There is no failed job of this id."""

    error_id = "no-such-job"


class LastAdmin(EarwitnessError):
    """Without this administrator nobody could manage the service."""

    error_id = "last-admin"


class NoSuchSearch(EarwitnessError):
    """There is no saved search of this id."""

    error_id = "no-such-search"


class NoSuchBulk(EarwitnessError):
    """There is no bulk of this id."""

    error_id = "no-such-bulk"


class NoSuchTrial(EarwitnessError):
    """There is no trial of rules of this id."""

    error_id = "no-such-trial"


class TooMany(EarwitnessError):
    """These are more recordings than one request may change."""

    error_id = "too-many"


class NoSuchLink(EarwitnessError):
    """There is no link of this id, or it has ended."""

    error_id = "no-such-link"


class NoSuchWebhook(EarwitnessError):
    """There is no webhook of this id."""

    error_id = "no-such-webhook"


class WebhookStopped(EarwitnessError):
    """The webhook has stopped: its maker is gone, or may no longer have webhooks."""

    error_id = "webhook-stopped"


class NoSuchCallback(EarwitnessError):
    """There is no call-back of this id."""

    error_id = "no-such-callback"


class NoSuchNumber(EarwitnessError):
    """The number is not on the do-not-call list."""

    error_id = "no-such-number"


class NoSuchCampaign(EarwitnessError):
    """There is no campaign of this id."""

    error_id = "no-such-campaign"


class NoSuchCampaignAgent(EarwitnessError):
    """The campaign has no agent of this name."""

    error_id = "no-such-campaign-agent"


class RuleReadOnly(EarwitnessError):
    """The rule belongs to the configuration, and changes only there."""

    error_id = "rule-read-only"


class RuleChanged(EarwitnessError):
    """Another person has changed the rule meanwhile."""

    error_id = "rule-changed"


class NameInvalid(EarwitnessError):
    """A name has a character that nobody can see, or is reserved, or too long."""

    error_id = "name-invalid"


class TokenInvalid(EarwitnessError):
    """The name of the token is taken."""

    error_id = "token-invalid"


class UserInvalid(EarwitnessError):
    """The user is invalid: the name is taken, or the password breaks a rule."""

    error_id = "user-invalid"


class UserOfProvider(EarwitnessError):
    """The identity provider gives this user name, role and team: they change only there."""

    error_id = "user-of-provider"


class AgentInvalid(EarwitnessError):
    """The agent is invalid: the list has it already, or a name breaks a rule."""

    error_id = "agent-invalid"


class AgentListInvalid(EarwitnessError):
    """The list of agents cannot be read."""

    error_id = "agent-list-invalid"


class AudioNotStored(EarwitnessError):
    """The recording's audio is not in the store."""

    error_id = "audio-not-stored"


class ManifestInvalid(EarwitnessError):
    """The manifest is not one of ours, or was changed after it was signed."""

    error_id = "manifest-invalid"


class CatalogueUnavailable(EarwitnessError):
    """PostgreSQL does not answer."""

    error_id = "catalogue-unavailable"


class LockTimeout(CatalogueUnavailable):
    """Another process holds the lock for longer than the caller waits.

    Retry like any CatalogueUnavailable: the next check does the work at the latest.
    """

    error_id = "lock-timeout"


class BadCursor(EarwitnessError):
    """The cursor does not belong to this list."""

    error_id = "bad-cursor"


class IdempotencyKeyReused(EarwitnessError):
    """The Idempotency-Key belongs to a different request, or to one that still runs."""

    error_id = "idempotency-key-reused"
