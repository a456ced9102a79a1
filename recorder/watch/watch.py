"""The watcher of one PBX: own the PBX, follow it for as long as the lock holds, start again.

One process watches a PBX at a time, by a lock in PostgreSQL; other processes stand by. After a
restart, ours or the PBX's, or a lost connection, the session lists the PBX and finds every change.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from recorder import ari
from recorder.ari import Ari
from recorder.ari.pbxs import Pbxs
from recorder.calls.model import CallModel
from recorder.conferences.conferences import Conferences
from recorder.conferences.entrance import Entrance
from recorder.dialling.dialler import Dialler
from recorder.programs.programs import Programs
from recorder.recording.announce import Announcer
from recorder.recording.beeps import Beeps
from recorder.recording.capture import Capture
from recorder.recording.decisions import Decisions
from recorder.recording.demand import KeyFunction, OnDemand
from recorder.recording.dtmf import KeySequences
from recorder.recording.fact_reader import FactReader
from recorder.recording.sounds import UNHEARD, Sounds
from recorder.rules.book import RuleBook
from recorder.spy.reach import noticing_unheard
from recorder.spy.spies import Spies
from recorder.watch.checks import Checks
from recorder.watch.handlers import Handlers
from recorder.watch.lanes import Lanes, build_recording_keys
from recorder.watch.programs import ProgramDesk
from recorder.watch.rooms import RoomWatch
from recorder.watch.seen_agents import AgentPattern, SeenAgents, apply_patterns
from recorder.watch.session import EVENTS, Session
from recorder.watch.user_events import Outlet, sending_user_events
from storage.catalogue.engine import Catalogue, Lock
from storage.errors import EarwitnessError

log = structlog.get_logger()

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The part of the configuration that a watcher needs.

    `trunks` are patterns of the endpoints of customers; `keys` maps keys to their functions;
    `agents` are the patterns by which agents are added to the list.
    """

    trunks: tuple[str, ...]
    resume_after_s: int = 0
    keys: Mapping[str, KeyFunction] = field(default_factory=dict)
    user_events_to: tuple[str, ...] = ()
    user_events_to_ami: bool = False
    agents: tuple[AgentPattern, ...] = ()


@dataclass(frozen=True)
class Watch:
    """The watcher of one PBX, which runs until `stop` is set."""

    name: str
    client: Ari
    catalogue: Catalogue
    capture: Capture
    spies: Spies
    book: RuleBook
    dialler: Dialler
    programs: Programs
    conferences: Conferences
    pbxs: Pbxs
    settings: WatchSettings

    def run(self, stop: threading.Event) -> None:
        """Watch the PBX; stand by while another process does. Log each new trouble once."""
        logged = ""
        while not stop.is_set():
            try:
                with self.catalogue.try_lock(f"watch {self.name}") as lock:
                    if lock is not None:
                        logged = ""
                        log.info("watch.started", pbx=self.name)
                        self._follow(lock, stop)
                    elif logged != "standby":
                        logged = "standby"
                        log.info("watch.put-on-standby", pbx=self.name)
            except EarwitnessError as error:
                if logged != str(error):
                    logged = str(error)
                    log.warning("watch.interrupted", pbx=self.name, error=logged)
            except Exception:
                log.exception("watch.crashed", pbx=self.name)
            stop.wait(RETRY_S)

    def _follow(self, lock: Lock, stop: threading.Event) -> None:
        """Follow the PBX until `stop` is set or the lock is lost."""
        with self.catalogue.begin() as tx:
            apply_patterns(tx, self.settings.agents)
        lanes, sounds = Lanes(f"watch-{self.name}"), Sounds(self.client)
        desk = self._build_desk()
        try:
            session = self.build_session(lanes, sounds, desk)
            session.restore()
            with (
                ari.EventStream(self.client, allowed=EVENTS) as stream,
                sending_user_events(self.catalogue, self.name, self._build_outlet()),
                noticing_unheard(
                    self.catalogue,
                    self.client,
                    self.name,
                    lambda phone: sounds.play_soon([phone], UNHEARD),
                ),
            ):
                while not stop.is_set():
                    session.process_batch(stream)
                    session.check(lock)
        finally:
            desk.close()
            lanes.close()
            sounds.close()

    def _build_outlet(self) -> Outlet:
        settings = self.settings
        applications, to_ami = settings.user_events_to, settings.user_events_to_ami
        return Outlet(self.client, self.name, applications, to_ami=to_ami)

    def _build_desk(self) -> ProgramDesk:
        lanes = Lanes(f"programs-{self.name}")
        application, outlet = self.client.application, self._build_outlet()
        return ProgramDesk(self.name, application, self.programs, outlet, lanes)

    def build_session(self, lanes: Lanes, sounds: Sounds, desk: ProgramDesk) -> Session:
        """Build a session and all its parts."""
        key_of_recording = build_recording_keys(self.catalogue)
        model = CallModel(self.name, self.settings.trunks)
        return Session(
            pbx=self.name,
            client=self.client,
            catalogue=self.catalogue,
            model=model,
            lanes=lanes,
            decisions=Decisions(
                self.catalogue,
                FactReader(self.catalogue, self.client),
                self.book,
                Announcer(self.catalogue, sounds, lanes.submit),
                self.capture,
            ),
            capture=self.capture,
            spies=self.spies,
            agents=SeenAgents(self.settings.agents),
            handlers=Handlers(
                lanes=lanes,
                key_of_recording=key_of_recording,
                capture=self.capture,
                spies=self.spies,
                demand=OnDemand(self.catalogue, self.capture),
                keys=KeySequences(self.settings.keys),
                sounds=sounds,
                desk=desk,
            ),
            checks=Checks(
                pbx=self.name,
                catalogue=self.catalogue,
                lanes=lanes,
                key_of_recording=key_of_recording,
                capture=self.capture,
                spies=self.spies,
                dialler=self.dialler,
                beeps=Beeps(self.catalogue, sounds),
                is_alive=lambda channel_id: model.find_call_of(channel_id) is not None,
                resume_after_s=self.settings.resume_after_s,
            ),
            conferences=RoomWatch(
                self.name,
                self.catalogue,
                lanes,
                self.conferences,
                Entrance(self.catalogue, self.pbxs, self.conferences, self.name),
            ),
        )
