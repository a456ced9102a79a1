"""The base of the embedded servers: a claimed directory and a child process."""

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
    """A server in a child process, on a directory with one running Earwitness.

    `start` is `launch` and then `await_ready`; separate calls let several servers start at the same
    time. A failure undoes everything.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    ends: ClassVar[Steps]

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
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
        """Whether a running Earwitness has a server in this directory, or starts one."""
        return is_claimed(self.directory)

    @property
    @abstractmethod
    def address(self) -> str:
        """The address for clients; it changes from start to start only if it must."""

    def start(self) -> None:
        """Start the server, also again after it has ended; it works on return.

        Raises ConfigurationInvalid for an unusable directory, and CatalogueUnavailable or
        StoreUnavailable if the server does not start.
        """
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start the process; first end one that a killed service left behind."""
        self.stop()
        with self._stopped_on_error():
            self._claim = claim_directory(self.directory)
            end_leftovers(self._home, self.program, self.ends)
            self._process = self._launch()

    def await_ready(self) -> None:
        """Wait until the launched server works."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not launched")
        with self._stopped_on_error():
            self._await_ready(self._process)

    def stop(self) -> None:
        """End the server within 5 s; harmless to repeat."""
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
        """Stop the server if its start fails; replace an operating system's error by ours."""
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
        """The working directory of the server's processes, by which we find them."""
        return self.directory

    @abstractmethod
    def _launch(self) -> Process:
        """Prepare the directory and start the process."""

    @abstractmethod
    def _await_ready(self, process: Process) -> None:
        """Wait until the process serves, and prepare its contents."""

    def _clean_up(self) -> None:  # noqa: B027  # most servers leave nothing
        """Remove the files that the ended server left outside its directory."""
