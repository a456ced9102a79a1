"""The configuration: `config.toml`, overridden by the environment, checked before anything starts.

Any key can come from the environment (`EARWITNESS_SERVER__PORT=9000`; a list such as `[[pbx]]` as
JSON in `EARWITNESS_PBX`), any secret from a file (`password_file = "…"`). An unknown key is an
error. Source: `config.toml` at the top of the repository lists every key with its default.
"""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from storage.errors import ConfigurationInvalid, NameInvalid
from storage.naming import parse_name
from storage.records import (
    Action,
    AfterTransfer,
    DefaultAction,
    DialFormat,
    Format,
    Hours,
    Layout,
    PauseLeaves,
    RuleRecord,
    RuleTerms,
    check_layout,
)

ENVIRONMENT_PREFIX = "EARWITNESS_"
# Call ids and object keys start with the name of a PBX.
PBX_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,30}")
KEYS = r"^[0-9A-D*#]{0,8}$"


class Section(BaseModel):
    """A table of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, table: Any) -> Any:
        """Replace each `<secret>_file` by the text of that file."""
        if not isinstance(table, Mapping):
            return table
        return {
            key.removesuffix("_file") if cls._is_secret_file(key) else key: (
                _read_secret(key, value) if cls._is_secret_file(key) and value else value
            )
            for key, value in table.items()
        }

    @classmethod
    def _is_secret_file(cls, key: str) -> bool:
        field = cls.model_fields.get(key.removesuffix("_file"))
        return key.endswith("_file") and field is not None and field.annotation is SecretStr


def _read_secret(key: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{key}: cannot read {path}: {error.strerror}") from error


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.username):
        raise ValueError("expected a URL such as http://127.0.0.1:8088, without a user in it")
    return value.rstrip("/")


class Server(Section):
    """The address of the HTTP API."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=1, le=65535)
    public_url: str = ""
    proxies: int = Field(0, ge=0, le=9)

    _url = field_validator("public_url")(_http_url)

    @property
    def lacks_front(self) -> bool:
        """Whether other machines reach the API, and no proxy is named."""
        return not _is_loopback(self.host) and self.proxies == 0


class Media(Section):
    """The address of the media server, through which browsers hear calls."""

    host: str = "127.0.0.1"
    port: int = Field(8081, ge=1, le=65535)
    public_url: str = ""

    @field_validator("public_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.username):
            raise ValueError("expected a URL such as wss://ear.example/media, without a user in it")
        return value.rstrip("/")


class OidcRoles(Section):
    """The values of the role's claim for each role; if all are empty, the names of the roles."""

    admin: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    supervisor: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()


class Oidc(Section):
    """The identity provider for sign-ins; without an issuer people sign in here alone."""

    issuer: str = ""
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    name: str = Field("single sign-on", min_length=1, max_length=60)
    scopes: tuple[str, ...] = ("openid", "profile")
    username_claim: str = Field("preferred_username", min_length=1)
    role_claim: str = Field("earwitness_role", min_length=1)
    team_claim: str = "earwitness_team"
    passwords: bool = True
    roles: OidcRoles = OidcRoles()

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        _http_url(value)  # unchanged: for a provider, a slash at the end makes another issuer
        parts = urlsplit(value)
        if parts.query or parts.fragment:
            raise ValueError("expected a URL without ? and #")
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise ValueError("expected https://…; http:// is for this machine's own addresses")
        return value

    @field_validator("scopes")
    @classmethod
    def _asks_who_it_is(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError('expected "openid" among them')
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.issuer and not self.client_id:
            raise ValueError("client_id: expected what the issuer calls Earwitness")
        if not self.issuer and not self.passwords:
            raise ValueError("passwords: without an issuer nobody could sign in: expected true")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Data(Section):
    """The directory of this machine's own data."""

    directory: Path = Path("var")


class Database(Section):
    """The PostgreSQL; an empty URL means the embedded one."""

    url: SecretStr = SecretStr("")

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and urlsplit(text).scheme not in {"postgresql", "postgres"}:
            raise ValueError("expected postgresql://user:password@host/database")
        return value


class Objects(Section):
    """The S3-compatible store."""

    kind: Literal["embedded", "s3"] = "embedded"
    endpoint_url: str = ""
    public_endpoint_url: str = ""
    region: str = "us-east-1"
    bucket: str = "recordings"
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    addressing: Literal["path", "virtual"] = "path"
    object_lock: Literal["off", "governance", "compliance"] = "off"
    encryption: Literal["off", "sse-s3", "sse-kms", "envelope"] = "off"

    _urls = field_validator("endpoint_url", "public_endpoint_url")(_http_url)

    @model_validator(mode="after")
    def _is_built(self) -> Self:
        for key in ("object_lock", "encryption"):
            if getattr(self, key) != "off":
                raise ValueError(f'{key}: this version knows only "off"')
        return self


class Webhooks(Section):
    """The limits on the addresses of webhooks."""

    allow_private_addresses: bool = False


DialContext = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$", max_length=79)]
Prefix = Annotated[str, Field(pattern=r"^\+[0-9]{1,15}$")]
Application = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Pbx(Section):
    """An Asterisk."""

    name: str = "main"
    url: str = Field("http://127.0.0.1:8088", min_length=1)
    username: str = "recorder"
    password: SecretStr = SecretStr("")
    application: Application = "earwitness"
    trunks: tuple[str, ...] = ("PJSIP/trunk*",)
    user_events_to: tuple[Application, ...] = ()
    user_events_to_ami: bool = False
    programs_may_dial: bool = False
    dialplan_without_token: bool = False
    dial_context: DialContext = ""
    dial_format: DialFormat = "e164"
    region: str = Field("US", pattern=r"^[A-Z]{2}$")
    conference_context: DialContext = ""

    _url = field_validator("url")(_http_url)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not PBX_NAME.fullmatch(value):
            raise ValueError("expected 1 to 31 of a-z, 0-9 and _, a letter or digit first")
        return value

    @model_validator(mode="after")
    def _tells_others(self) -> Self:
        if self.application in self.user_events_to:
            raise ValueError("user_events_to names our own application: name others")
        return self


class Dtmf(Section):
    """The keys that agents press on their phones; "" disables a function."""

    toggle: str = Field("*1", pattern=KEYS)
    pause: str = Field("*2", pattern=KEYS)

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        if self.toggle and self.pause and self.toggle.startswith(self.pause):
            raise ValueError("toggle begins with pause: one would never be understood")
        if self.toggle and self.pause.startswith(self.toggle):
            raise ValueError("pause begins with toggle: one would never be understood")
        return self


class Recording(Section):
    """The terms of recordings without a rule."""

    default: DefaultAction = "never"
    record_all: bool = False
    layout: Layout = "dual"
    format: Format = "opus"
    pause: PauseLeaves = "silence"
    resume_after_s: int = Field(0, ge=0)
    pause_listeners: Literal["deaf", "hear"] = "deaf"
    dtmf: Dtmf = Dtmf()

    @model_validator(mode="after")
    def _has_room_for_tracks(self) -> Self:
        check_layout(self.layout, self.format)
        return self


class Spies(Section):
    """The limits of supervisors on live calls."""

    after_transfer: AfterTransfer = "end"


class Dialling(Section):
    """The limits of the calls that we set up."""

    allowed: tuple[Prefix, ...] = ()
    refused: tuple[Prefix, ...] = ()
    premium: bool = False
    ring_s: int = Field(30, ge=5, le=300)
    from_hour: int = Field(8, ge=0, le=23)
    to_hour: int = Field(20, ge=1, le=24)
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = (1, 2, 3, 4, 5, 6)
    retry_after_s: tuple[Annotated[int, Field(ge=60, le=604_800)], ...] = (900, 3600, 14_400)

    @property
    def hours(self) -> Hours:
        """The hours in which a number may be dialled, in its own time zones."""
        return Hours(self.from_hour, self.to_hour, self.weekdays)

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.from_hour >= self.to_hour or not self.weekdays:
            raise ValueError("from_hour, to_hour and weekdays leave no time to dial in")
        return self


def _team_name(value: str) -> str:
    try:
        return parse_name(value) if value else ""
    except NameInvalid as error:
        raise ValueError(str(error)) from error


TeamName = Annotated[str, AfterValidator(_team_name)]


class Rule(RuleTerms):
    """A rule of the file; see docs/rules.md."""

    def as_record(self, number: int) -> RuleRecord:
        """Return the record of the rule at position `number` of the file, counted from 1."""
        fields = self.model_dump()
        if "priority" not in self.model_fields_set:
            fields["priority"] = 100 * number
        return RuleRecord(**fields, id=f"config-{number}", version=1, origin="config")


class Agents(Section):
    """The endpoints of some agents, and their team."""

    endpoints: str = Field(min_length=1, max_length=100, pattern=r"^[^\s/]+(/[^\s/]+)?$")
    team: TeamName = ""


class Config(BaseSettings):
    """The whole configuration, checked."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    server: Server = Server()
    media: Media = Media()
    oidc: Oidc = Oidc()
    data: Data = Data()
    database: Database = Database()
    objects: Objects = Objects()
    webhooks: Webhooks = Webhooks()
    pbx: tuple[Pbx, ...] = ()
    recording: Recording = Recording()
    spies: Spies = Spies()
    dialling: Dialling = Dialling()
    agents: tuple[Agents, ...] = ()
    rule: tuple[Rule, ...] = ()

    @property
    def default_action(self) -> Action:
        """The action on a call without a matching rule; `record_all` is short for "record"."""
        return "record" if self.recording.record_all else self.recording.default

    @property
    def rules(self) -> tuple[RuleRecord, ...]:
        """The rules of the file, in its order."""
        return _as_records(self.rule)

    @field_validator("pbx")
    @classmethod
    def _names_differ(cls, value: tuple[Pbx, ...]) -> tuple[Pbx, ...]:
        names = [pbx.name for pbx in value]
        if len(set(names)) != len(names):
            raise ValueError("two [[pbx]] have the same name")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the file, which `load_config` names."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class Rules(Section):
    """A file of rules alone."""

    rule: tuple[Rule, ...] = ()


def read_rules(table: Mapping[str, Any]) -> tuple[RuleRecord, ...]:
    """Return the rules of a file of rules alone. Raises pydantic's ValidationError."""
    return _as_records(Rules.model_validate(table).rule)


def _as_records(rules: Sequence[Rule]) -> tuple[RuleRecord, ...]:
    return tuple(rule.as_record(number) for number, rule in enumerate(rules, 1))


def load_config(path: Path) -> Config:
    """Read `path` and the environment.

    Raises ConfigurationInvalid, with file, key and expectation, for an unknown or wrong key. A
    missing file is an error too, because a typo in `--config` must not start a service on defaults.
    """
    if not path.is_file():
        raise ConfigurationInvalid(f"{path}: no such file; name one with --config")

    class Bound(Config):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        _refuse_unknown_variables()
        return Bound()
    except ValidationError as error:
        raise ConfigurationInvalid(f"{path}: {explain(error)}") from None
    except (OSError, ValueError) as error:  # an unreadable file; TOML or JSON that does not parse
        raise ConfigurationInvalid(f"{path}: {error}") from None


# Variables of the test laboratory.
FOREIGN_VARIABLES = ("EARWITNESS_LAB_",)


def _refuse_unknown_variables() -> None:
    """Raise ValueError for a variable of an unknown section, because a misspelt one must not be
    ignored."""
    for name in os.environ:
        if not name.startswith(ENVIRONMENT_PREFIX) or name.startswith(FOREIGN_VARIABLES):
            continue
        section = name.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
        if section not in Config.model_fields:
            raise ValueError(f"environment variable {name} names no section of the configuration")


def explain(error: ValidationError) -> str:
    """Return `key: expectation` for each fault in one line, without the values, which may be
    secrets."""
    lines: list[str] = []
    for fault in error.errors(include_input=False, include_url=False):
        expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if fault["type"] == "extra_forbidden":
            expected = "unknown key"
        lines.append(f"{'.'.join(map(str, fault['loc']))}: {expected}")
    return "; ".join(lines)
