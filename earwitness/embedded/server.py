"""What the embedded servers have in common: a directory that is claimed, and a child process."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, ClassVar, Self

from earwitness.embedded.directories import claim_directory, is_claimed
from earwitness.embedded.processes import Process, Steps, end_child, end_leftovers
from storage.errors import ConfigurationInvalid


class EmbeddedServer(ABC):
    """A server in a child process, on a directory that one Earwitness uses at a time.

    `launch` and `await_ready`, in this order, are `start`: several servers can get ready side by
    side. Whatever fails is undone.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    ends: ClassVar[Steps]

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._claim: IO[str] | None = None
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the server that this object started."""
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        """Whether the process that this object started has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_claimed(self) -> bool:
        """Whether a running Earwitness keeps a server in this directory, or is starting one."""
        return is_claimed(self._directory)

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients find the server; it changes from start to start only if it has to."""

    def start(self) -> None:
        """Start the server, also after it has ended by itself; on return it works.

        Raises ConfigurationInvalid for a directory that cannot be used, and CatalogueUnavailable
        or StoreUnavailable where the server does not start.
        """
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start the process; one that a killed service left behind is ended first."""
        self.stop()
        with self._stopped_on_error():
            self._claim = claim_directory(self._directory)
            end_leftovers(self._home, self.program, self.ends)
            self._process = self._launch()

    def await_ready(self) -> None:
        """Return when the launched server works."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not launched")
        with self._stopped_on_error():
            self._await_ready(self._process)

    def stop(self) -> None:
        """End the server, within 5 s. Safe to repeat."""
        if self._process is not None:
            end_child(self._process, self.ends)
            self._clean_up()
        self._process = None
        if self._claim is not None:
            self._claim.close()
        self._claim = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _stopped_on_error(self) -> Iterator[None]:
        """Stop what starts half-way; an error of the system becomes a line of ours."""
        try:
            yield
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            raise ConfigurationInvalid(f"data.directory: {error}") from error
        except BaseException:
            self.stop()
            raise

    @property
    def _home(self) -> Path:
        """The working directory of the server's processes, by which they are found."""
        return self._directory

    @abstractmethod
    def _launch(self) -> Process:
        """Prepare the directory and start the process."""

    @abstractmethod
    def _await_ready(self, process: Process) -> None:
        """Wait until the process serves, and set up what it has to hold."""

    def _clean_up(self) -> None:  # noqa: B027  # most leave nothing behind
        """Remove what the ended server left outside its directory."""
