"""The command line: results on standard output, logs on standard error.

Exit status 0 done, 1 a check failed, 2 wrong usage or configuration.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from earwitness.config import Config, load_config
from earwitness.logs import configure_logs
from storage.errors import ConfigurationInvalid, EarwitnessError
from storage.records import PersonRole, Role

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Call recording and live supervision for Asterisk.",
)
tokens = typer.Typer(no_args_is_help=True, help="Bearer tokens.")
app.add_typer(tokens, name="token")
rules = typer.Typer(no_args_is_help=True, help="Rules that say which calls are recorded.")
app.add_typer(rules, name="rules")
users = typer.Typer(no_args_is_help=True, help="People who sign in on the web page.")
app.add_typer(users, name="user")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stands before the command."""

    path: Path

    @property
    def config(self) -> Config:
        """The configuration; raises ConfigurationInvalid."""
        return load_config(self.path)

    @contextmanager
    def used(self) -> Iterator[Config]:
        """The configuration, of which every fault that shows in the block names the file."""
        config = self.config
        try:
            yield config
        except ConfigurationInvalid as error:
            raise ConfigurationInvalid(f"{self.path}: {error}") from error


@app.callback()
def _begin(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="The configuration file.")] = Path("config.toml"),
) -> None:
    configure_logs()
    context.obj = Invocation(config)


@app.command()
def serve(context: typer.Context) -> None:
    """Everything on one machine; brings what the configuration leaves out."""
    from earwitness.serve import serve

    with context.obj.used() as config:
        serve(context.obj.path, config)


@app.command()
def api(context: typer.Context) -> None:
    """The HTTP API alone."""
    _run_role("api", context.obj)


@app.command()
def watch(context: typer.Context) -> None:
    """The watcher alone: follows every PBX, records what must be recorded."""
    _run_role("watch", context.obj)


@app.command()
def work(context: typer.Context) -> None:
    """A worker alone: fetches, encodes and stores what was captured."""
    _run_role("work", context.obj)


@app.command()
def media(context: typer.Context) -> None:
    """The media server alone: carries the audio of calls to browsers and back."""
    _run_role("media", context.obj)


@app.command()
def doctor(
    context: typer.Context,
    media: Annotated[
        bool, typer.Option("--media", help="Prove by ear, on a synthetic call, who hears whom.")
    ] = False,
) -> None:
    """Check every PBX, the database, the store, codecs and disk; say what to mend."""
    from rich.console import Console
    from rich.markup import escape

    from earwitness.doctor import examine

    findings = examine(context.obj.config, media=media)
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
        console.print(f"{mark} {escape(f'{finding.name}: {finding.text}')}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@tokens.command("create")
def token_create(  # noqa: PLR0917  # an option each
    context: typer.Context,
    name: Annotated[str, typer.Option(help="Who will use it; for an agent, the endpoint's name.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    team: Annotated[str | None, typer.Option(help="A supervisor sees the agents of this.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="For role service: a permission; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A permission of the role that it shall not have; may be repeated."),
    ] = None,
) -> None:
    """Print a new bearer token, alone, on standard output. It cannot be shown again."""
    from earwitness.tokens import create

    typer.echo(
        create(
            context.obj.config,
            name,
            role,
            team,
            scopes=scope or [],
            without=without or [],
        )
    )


@users.command("create")
def user_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name; for an agent, the endpoint's.")],
    role: Annotated[PersonRole, typer.Option(help="What the person may do.")],
    team: Annotated[str | None, typer.Option(help="A supervisor sees the agents of this.")] = None,
) -> None:
    """Let a person sign in on the web page; asks for the password."""
    from earwitness.users import create

    create(context.obj.config, name, role, team, _ask_password())


@users.command("password")
def user_password(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Whose.")]
) -> None:
    """Set another password, and end all sessions of the person."""
    from earwitness.users import set_password

    set_password(context.obj.config, name, _ask_password())


@users.command("list")
def user_list(context: typer.Context) -> None:
    """Tell who can sign in: name, role and team."""
    from earwitness.users import tell_all

    for line in tell_all(context.obj.config):
        typer.echo(line)


def _ask_password() -> str:
    """Twice on a terminal, unseen; else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@rules.command("test")
def rules_test(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="TOML with [[rule]] as in config.toml.")],
    days: Annotated[int, typer.Option(min=1, help="How many days of past calls.")] = 30,
) -> None:
    """Try draft rules on past calls: what would have been recorded, and which calls change."""
    from earwitness.rules import try_file

    with context.obj.used() as config:
        for line in try_file(config, file, days):
            typer.echo(line)


def _run_role(name: str, invocation: Invocation) -> None:
    from earwitness.roles import ROLES

    with invocation.used() as config:
        ROLES[name](config)


def main() -> None:
    """Run a command; an error that we know is one line, not a traceback."""
    try:
        app()
    except ConfigurationInvalid as error:
        print(f"earwitness: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except EarwitnessError as error:
        print(f"earwitness: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
