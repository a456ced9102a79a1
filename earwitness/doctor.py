"""`doctor`: check everything that recording needs, and say what to mend."""

import shutil
import tempfile
import wave
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from uuid import uuid4

from earwitness import doctor_dialplan
from earwitness.config import Config, Pbx, Server
from earwitness.embedded import embedded_database, embedded_objects
from earwitness.private import find_open
from earwitness.roles import addresses_of
from earwitness.wiring import Wiring, oidc_settings
from recorder.ari import Ari, AriError, AriServerError, AriUnauthorized, Connected, EventStream
from recorder.conferences.taking_in import TAKE
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable, EarwitnessError
from storage.objects.store import ObjectStore
from storage.records import Format, Mode

if TYPE_CHECKING:
    pass

MODULES = (
    "res_ari",
    "res_ari_applications",
    "res_ari_bridges",
    "res_ari_channels",
    "res_ari_events",
    "res_ari_recordings",
    "res_stasis",
    "res_stasis_recording",
    "res_stasis_snoop",
    "res_http_websocket",
    "format_wav",
    "chan_bridge_media",
)
# Further modules for spies; a page needs one of PAGE_MODULES.
SPY_MODULES = ("bridge_softmix", "func_volume")
PAGE_MODULES = ("chan_websocket", "chan_rtp")
# Further modules for conferences.
CONFERENCE_MODULES = (
    *("app_stasis", "res_stasis_playback", "bridge_holding", "bridge_softmix"),
    *("func_talkdetect", "app_channelredirect", "func_logic"),
)
# After a failure here all later checks would fail.
DECISIVE = ("reachable", "rights")
MEANINGS: Mapping[Mode, str] = {
    "listen": "is silent: the supervisor hears both, nobody hears the supervisor",
    "whisper": "reaches the agent alone",
    "barge": "reaches both",
}
ANSWERS_WITHIN_S = 5.0
LEAST_FREE_BYTES = 2 * 1024**3
OLDEST_ASTERISK = 16
# Debian's builds with the components of its own ("+~cs") have the patch 2016_opus_plc, since
# 16.23.0~dfsg+~cs6.10. Source: debian/changelog of the package.
DEBIAN_WITH_PLC = ("dfsg", "+~cs")


@dataclass(frozen=True, slots=True)
class Finding:
    """A check: its name, whether it passed, and the result or the remedy.

    A check that passed may warn, for example of a known defect of this Asterisk.
    """

    name: str
    ok: bool
    text: str
    warns: bool = False


def examine(
    config: Config, *, media: bool = False, pci: bool = False, logs: Iterable[Path] = ()
) -> tuple[Finding, ...]:
    """Check everything in turn; with `media` and `pci` also by a synthetic call.

    `logs` are more log files to search with `pci`.
    """
    wiring = Wiring(config)
    findings: list[Finding] = []
    for pbx in config.pbx:
        findings += (of_pbx := examine_pbx(wiring, pbx))
        if pbx.dialplan_without_token:
            findings.append(examine_dialplan(config.server, pbx))
        if media and all(finding.ok for finding in of_pbx):
            findings += examine_media(pbx)
        if pci and all(finding.ok for finding in of_pbx):
            findings += examine_pauses(config, pbx, logs)
    if not config.pbx:
        findings.append(Finding("pbx", False, "none is configured: add a [[pbx]] table"))
    findings.append(examine_database(config))
    findings += examine_oidc(config)
    findings += _examine_store(config)
    findings += [examine_codec(format) for format in get_args(Format)]
    findings.append(_examine_front(config.server))
    return (*findings, _examine_files(config.data.directory), _examine_disk(config.data.directory))


# Asterisk


def examine_pbx(wiring: Wiring, pbx: Pbx) -> list[Finding]:
    """Check that the PBX answers, has our version and modules, and lets our user record."""
    client = wiring.pbxs[pbx.name]
    checks: dict[str, Callable[[], str]] = {
        "reachable": lambda: _reach(client, pbx),
        "version": lambda: _version(client),
        "modules": lambda: _modules(client),
        "spies": lambda: _spy_modules(client),
        "device states": lambda: _device_states(client),
        "timing": lambda: _timing(client),
        "rights": lambda: _rights(client, pbx),
        "recording": lambda: _records(client),
        "dialling": lambda: _dials(pbx),
        "conferences": lambda: _conferences(client, pbx),
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        findings.append(_try(f"pbx {pbx.name} {name}", check))
        if name in DECISIVE and not findings[-1].ok:
            break
    return findings


def _reach(client: Ari, pbx: Pbx) -> str:
    try:
        client.get_info()
    except AriUnauthorized as error:
        raise _Fault(
            f"pbx.username, pbx.password: {pbx.url} refuses {pbx.username}; compare ari.conf"
        ) from error
    except AriError as error:
        raise _Fault(
            f"pbx.url: {pbx.url} does not answer ({error}); is http.conf enabled there?"
        ) from error
    return f"{pbx.url} answers"


def _version(client: Ari) -> str:
    version = client.get_info().version
    major = int("".join(takewhile(str.isdigit, version)) or 0)
    if major < OLDEST_ASTERISK:
        raise _Fault(f"Asterisk {version}: {OLDEST_ASTERISK} or newer is needed")
    if version.startswith("22.11.0"):
        raise _Warning(
            f"Asterisk {version} may take a whole processor core for each channel that hears a"
            " supervisor's whisper, a beep or an announcement (asterisk issue 2134); use another"
            " version"
        )
    if all(sign in version for sign in DEBIAN_WITH_PLC):
        raise _Warning(
            f"Asterisk {version}: this Debian build may drop audio after transfers from MixMonitor"
            " and snoops of both directions (its patch 2016_opus_plc); recordings are whole,"
            " because each leg is recorded by itself, but a supervisor may hear a new party late"
        )
    return f"Asterisk {version}"


def _running_modules(client: Ari) -> set[str]:
    modules = client.list_modules()
    return {module.name.removesuffix(".so") for module in modules if module.status == "Running"}


def _modules(client: Ari) -> str:
    running = _running_modules(client)
    missing = [name for name in MODULES if name not in running]
    if missing:
        raise _Fault(f"not loaded: {', '.join(missing)}; see modules.conf")
    return f"{len(MODULES)} of {len(MODULES)} loaded"


def _spy_modules(client: Ari) -> str:
    running = _running_modules(client)
    missing = [name for name in SPY_MODULES if name not in running]
    if missing:
        raise _Fault(f"not loaded: {', '.join(missing)}; see modules.conf")
    ways = [name for name in PAGE_MODULES if name in running]
    if not ways:
        raise _Fault(f"no page can hear: load {' or '.join(PAGE_MODULES)}; see modules.conf")
    return f"on phones, and in pages by {ways[0]}"


def _device_states(client: Ari) -> str:
    if "res_stasis_device_state" not in _running_modules(client):
        return "not published over ARI"
    raise _Warning(
        "published over ARI; if another client closes a socket with subscribeAll=true, ARI may lock"
        " up (asterisk issue 2170); noload res_stasis_device_state if nothing needs it"
    )


def _timing(client: Ari) -> str:
    running = sorted(one for one in _running_modules(client) if one.startswith("res_timing_"))
    if "res_timing_dahdi" in running:
        raise _Warning(
            "res_timing_dahdi floods the log while snoops run (asterisk issue 1482): noload it and"
            " load res_timing_timerfd"
        )
    if not running:
        raise _Fault("no timing module: load res_timing_timerfd; see modules.conf")
    return f"by {', '.join(running)}"


def _rights(client: Ari, pbx: Pbx) -> str:
    """Send a request that would change something, for a channel that cannot exist."""
    try:
        client.hang_up(f"earwitness-doctor-{uuid4()}")
    except AriUnauthorized as error:
        raise _Fault(
            f"{pbx.username} may only read: remove read_only=yes from its section in ari.conf"
        ) from error
    return f"{pbx.username} may control channels"


def _records(client: Ari) -> str:
    """Record an empty bridge for a moment, to see that Asterisk can write a file without any
    call."""
    bridge_id, name = f"earwitness-doctor-{uuid4()}", f"earwitness/doctor/{uuid4()}"
    client.create_bridge(bridge_id=bridge_id)
    try:
        client.record_bridge(bridge_id, name=name)
        client.stop_live_recording(name)
    except AriServerError as error:
        raise _Fault(
            "Asterisk cannot write recordings: create the directory `recording` under its spool"
            " directory (/var/spool/asterisk/recording), owned by Asterisk's user"
        ) from error
    finally:
        client.destroy_bridge(bridge_id)
        client.delete_stored_recording(name)
    return "a file can be recorded"


def _dials(pbx: Pbx) -> str:
    if not pbx.dial_context:
        return "never: pbx.dial_context is empty"
    if not _has_place(pbx, pbx.dial_context):
        raise _Fault(f"pbx.dial_context: the dialplan has no context {pbx.dial_context}")
    return f"by the context {pbx.dial_context}"


def _conferences(client: Ari, pbx: Pbx) -> str:
    running = _running_modules(client)
    missing = [name for name in CONFERENCE_MODULES if name not in running]
    context = pbx.conference_context
    if missing and context:
        raise _Fault(f"not loaded: {', '.join(missing)}; see modules.conf")
    if missing:
        return f"none: not loaded: {', '.join(missing)}"
    if not context:
        return "no live call can be taken in: pbx.conference_context is empty"
    if not _has_place(pbx, f"{context},{TAKE},1"):
        raise _Fault(
            f"pbx.conference_context: the context {context} of the dialplan has no extension"
            f" {TAKE}; see docs/conferences.md"
        )
    return f"live calls are taken in by the context {context}"


def _has_place(pbx: Pbx, place: str) -> bool:
    """Ask a channel whether the dialplan has a context, or an extension in it: `outbound,55,1`.

    A channel of this technology belongs to no call.
    """
    client = _build_client(pbx)
    channel_id = f"earwitness-doctor-{uuid4()}"
    with closing(client), EventStream(client, subscribe_all=False) as events:
        if not isinstance(events.next(ANSWERS_WITHIN_S), Connected):
            raise _Warning(
                "Asterisk accepts no event socket: cannot say whether the context exists"
            )
        try:
            client.create_channel("Recorder/doctor", channel_id=channel_id)
            return client.find_variable(channel_id, f"DIALPLAN_EXISTS({place})") == "1"
        except AriError as error:  # for example without func_dialplan
            raise _Warning(f"cannot say whether the context exists: {error}") from error
        finally:
            client.hang_up(channel_id)


def examine_dialplan(server: Server, pbx: Pbx) -> Finding:
    """Check that nobody but the PBX can ask as its dialplan, which needs no token."""

    def check() -> str:
        addresses, remedy = addresses_of([pbx.url]), f"`token create --for-dialplan {pbx.name}`"
        if not addresses:
            raise _Warning(f"the host of {pbx.url} is unknown: its dialplan is refused")
        if not doctor_dialplan.has_proxy(server):
            return "needs no token, straight from the address of the PBX"
        if server.public_url and doctor_dialplan.lets_through(server.public_url):
            raise _Fault(
                f"pbx.dialplan_without_token: {server.public_url} takes commands of anybody, as if"
                f" from {pbx.name}: remove the key, and make a token by {remedy}"
            )
        if doctor_dialplan.is_on_this_machine(addresses):
            raise _Warning(
                "pbx.dialplan_without_token: a proxy on this machine has the address of the PBX."
                f" Remove the key, and make a token by {remedy}; or let the proxy pass on"
                " X-Forwarded-For"
            )
        return "needs no token, straight from the address of the PBX, never through the proxy"

    return _try(f"pbx {pbx.name} dialplan", check)


def _build_client(pbx: Pbx) -> Ari:
    """Build a client with an application of its own, so that no running service gets its events."""
    application = f"{pbx.application}-doctor"
    return Ari(pbx.url, pbx.username, pbx.password.get_secret_value(), application)


def examine_media(pbx: Pbx) -> list[Finding]:
    """Measure on a synthetic call, at every ear, who hears whom in each mode of a spy."""
    from earwitness.doctor_media import prove

    with closing(_build_client(pbx)) as client:
        try:
            results = prove(client)
        except AriError as error:
            return [Finding(f"pbx {pbx.name} media", False, f"no synthetic call: {error}")]
    return [
        Finding(
            f"pbx {pbx.name} {result.mode}",
            not result.faults,
            "; ".join(result.faults) or MEANINGS[result.mode],
        )
        for result in results
    ]


def examine_pauses(config: Config, pbx: Pbx, logs: Iterable[Path] = ()) -> list[Finding]:
    """Speak a marker in a pause of a synthetic call, and search everything that is kept or sent."""
    from earwitness.doctor_pci import NotProved, prove_pause

    name = f"pbx {pbx.name} pause"
    try:
        places = prove_pause(config, pbx, logs=logs)
    except NotProved as error:
        return [Finding(name, False, f"not proved: {error}")]
    hint = ' (recording.pause_listeners is "hear")' if _listeners_hear(config) else ""
    return [
        Finding(
            f"{name}, {one.place}",
            one.found is None,
            f"nothing found in {one.extent}" if one.found is None else f"{one.found}{hint}",
        )
        for one in places
    ]


def _listeners_hear(config: Config) -> bool:
    return config.recording.pause_listeners == "hear"


# Database and store


def examine_database(config: Config) -> Finding:
    """Check that the database answers, and has the schema of this version."""

    def check() -> str:
        with embedded_database(config) as url, closing(Catalogue(url)) as catalogue:
            try:
                present, needed = catalogue.schema_versions()
            except CatalogueUnavailable as error:
                raise _Fault(f"{error}; see database.url") from error
        if present is not None and present < needed:
            raise _Fault(f"schema {present}, this program needs {needed}: start it to migrate")
        return f"schema {present}" if present else "reachable; the schema comes at the first start"

    return _try("database", check)


def _examine_store(config: Config) -> list[Finding]:
    try:
        with embedded_objects(config) as objects:
            return examine_objects(objects)
    except EarwitnessError as error:
        return [Finding("objects", False, str(error))]


def examine_objects(objects: ObjectStore) -> list[Finding]:
    """Check that the bucket stores, returns and deletes an object."""
    return [Finding(f"objects {one.name}", one.ok, one.text) for one in objects.check()]


# Sign-in


def examine_oidc(config: Config) -> list[Finding]:
    """Check that the identity provider, if any, publishes the metadata that we need."""
    settings = oidc_settings(config)
    if settings is None:
        return []

    def check() -> str:
        from api.errors import ProviderUnavailable
        from api.oidc import Provider

        try:
            return f"{settings.issuer} answers, and signs by {Provider(settings).check()}"
        except ProviderUnavailable as error:
            raise _Fault(
                f"oidc.issuer: {settings.issuer} does not answer as it should: {error}"
            ) from error

    return [_try("oidc", check)]


# This machine


def examine_codec(format: Format) -> Finding:
    """Encode a second of silence."""

    def check() -> str:
        from recorder.audio import Piece, render

        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.wav"), Path(folder, f"out.{format}")
            with wave.open(str(source), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(bytes(2 * 8000))
            rendition = render(
                [Piece(source, "left", 0.0, None)], layout="dual", format=format, target=target
            )
        return f"encodes {rendition.content_type}"

    return _try(f"codec {format}", check)


def _examine_files(directory: Path) -> Finding:
    def check() -> str:
        for path, mode in find_open(directory):
            raise _Warning(
                f"data.directory: other users may open {path} (mode {mode:o}): chmod go-rwx"
            )
        return f"no other user may open the files in {directory}"

    return _try("files", check)


def _examine_front(server: Server) -> Finding:
    def check() -> str:
        if server.lacks_front:
            raise _Warning(
                f"server.host {server.host} is open to other machines, without a front: put one"
                " before it and set server.proxies (docs/operate.md)"
            )
        return f"{server.proxies} proxies before {server.host}"

    return _try("front", check)


def _examine_disk(directory: Path) -> Finding:
    def check() -> str:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _Fault(f"data.directory: cannot make {directory}: {error.strerror}") from error
        free = shutil.disk_usage(directory).free
        if free < LEAST_FREE_BYTES:
            raise _Fault(f"{directory}: only {free / 1e9:.1f} GB free, keep 2 GB at least")
        return f"{free / 1e9:.0f} GB free in {directory}"

    return _try("disk", check)


class _Fault(Exception):
    """A check failed; the message says what to mend."""


class _Warning(Exception):
    """A check passed, but this is not as it should be; the message says the consequence."""


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except _Warning as warning:
        return Finding(name, True, str(warning), warns=True)
    except (_Fault, AriError, EarwitnessError, OSError) as error:
        return Finding(name, False, str(error))
