"""The command line: results on standard output, logs on standard error.

Exit status 0 done, 1 a check failed, 2 wrong usage or configuration.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from earwitness.config import Config, load_config
from earwitness.logs import configure_logs
from earwitness.open_files import allow_open_files
from earwitness.private import keep_files_private
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
agents = typer.Typer(no_args_is_help=True, help="Agents of the PBX, and their teams.")
app.add_typer(agents, name="agents")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options before the command."""

    path: Path

    @property
    def config(self) -> Config:
        """The configuration; raises ConfigurationInvalid."""
        return load_config(self.path)

    @contextmanager
    def used(self) -> Iterator[Config]:
        """Yield the configuration; a ConfigurationInvalid from the block gets the name of the
        file."""
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
    """Run everything on one machine, with servers of its own if the configuration names none."""
    from earwitness.serve import serve

    with context.obj.used() as config:
        serve(context.obj.path, config)


@app.command()
def api(context: typer.Context) -> None:
    """Run the HTTP API alone."""
    _run_role("api", context.obj)


@app.command()
def watch(context: typer.Context) -> None:
    """Run the watcher alone: follow every PBX and record its calls."""
    _run_role("watch", context.obj)


@app.command()
def work(context: typer.Context) -> None:
    """Run a worker alone: fetch, encode and store captured audio."""
    _run_role("work", context.obj)


@app.command()
def media(context: typer.Context) -> None:
    """Run the media server alone: carry the audio of calls to browsers and back."""
    _run_role("media", context.obj)


@app.command()
def doctor(
    context: typer.Context,
    media: Annotated[
        bool, typer.Option("--media", help="Prove by ear, on a synthetic call, who hears whom.")
    ] = False,
    pci: Annotated[
        bool,
        typer.Option("--pci", help="Prove that nothing of a pause is kept or sent; while it runs."),
    ] = False,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="With --pci: a log file to search too; may be repeated."),
    ] = None,
) -> None:
    """Check every PBX, the database, the store, codecs and disk, and say what to mend."""
    from rich.console import Console
    from rich.markup import escape

    from earwitness.doctor import examine

    findings = examine(context.obj.config, media=media, pci=pci, logs=log or ())
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        passed = "[yellow]warn[/]" if finding.warns else "[green]ok[/]  "
        mark = passed if finding.ok else "[red]FAIL[/]"
        console.print(f"{mark} {escape(f'{finding.name}: {finding.text}')}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@tokens.command("create")
def token_create(  # noqa: PLR0917  # an option each
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option(help="Who will use it; for an agent, the endpoint's name.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="What it may do.")] = None,
    team: Annotated[str | None, typer.Option(help="A supervisor sees the agents of this.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="For role service: a permission; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A permission of the role that it shall not have; may be repeated."),
    ] = None,
    for_dialplan: Annotated[
        str | None,
        typer.Option(
            metavar="PBX", help="For CURL() in the dialplan of this PBX, instead of a role."
        ),
    ] = None,
) -> None:
    """Print a new bearer token, alone, on standard output. Nobody can show it again."""
    from earwitness.tokens import create, create_for_dialplan

    if for_dialplan is not None:
        if role or team or scope or without:
            raise typer.BadParameter("--for-dialplan stands alone, or with --name")
        typer.echo(create_for_dialplan(context.obj.config, for_dialplan, name))
        return
    if name is None or role is None:
        raise typer.BadParameter("give --name and --role, or --for-dialplan")
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


@tokens.command("list")
def token_list(context: typer.Context) -> None:
    """List the tokens: name, role, team and last use, never their secrets."""
    from earwitness.tokens import describe_tokens

    for line in describe_tokens(context.obj.config):
        typer.echo(line)


@tokens.command("revoke")
def token_revoke(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Whose; all of this name.")]
) -> None:
    """Revoke a token, and end its spies, links and the like."""
    from earwitness.tokens import revoke

    count = revoke(context.obj.config, name)
    typer.echo(f"revoked {count} {'token' if count == 1 else 'tokens'}", err=True)


@users.command("create")
def user_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name; for an agent, the endpoint's.")],
    role: Annotated[PersonRole, typer.Option(help="What the person may do.")],
    team: Annotated[str | None, typer.Option(help="A supervisor sees the agents of this.")] = None,
) -> None:
    """Create a user who signs in on the web page; ask for the password."""
    from earwitness.users import create

    create(context.obj.config, name, role, team, _ask_password())


@users.command("password")
def user_password(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Whose.")]
) -> None:
    """Set another password, and end all sessions of the user."""
    from earwitness.users import set_password

    set_password(context.obj.config, name, _ask_password())


@users.command("edit")
def user_edit(  # noqa: PLR0917  # an option each
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose.")],
    new_name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    role: Annotated[PersonRole | None, typer.Option(help="What the person may do.")] = None,
    team: Annotated[str | None, typer.Option(help='The new team; "" for none.')] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help='A permission that the person lacks; may be repeated; "" for none.'),
    ] = None,
) -> None:
    """Change the name, role or team of a user, and end all that the new rights do not cover."""
    from earwitness.users import edit

    changes = {"name": new_name, "role": role, "without": without}
    given = {key: value for key, value in changes.items() if value is not None}
    edit(context.obj.config, name, given | ({"team": team or None} if team is not None else {}))


@users.command("list")
def user_list(context: typer.Context) -> None:
    """List the users: name, role and team."""
    from earwitness.users import describe_users

    for line in describe_users(context.obj.config):
        typer.echo(line)


@agents.command("import")
def agents_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV: number, and perhaps name and team.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count and list; change nothing.")
    ] = False,
) -> None:
    """Add and change the agents of a CSV; list the refused lines, which end with status 1."""
    from earwitness.agents import import_file

    summary, refused = import_file(context.obj.config, file, dry_run=dry_run)
    for line in refused:
        typer.echo(f"{file}: {line}", err=True)
    typer.echo(summary)
    if refused:
        raise typer.Exit(1)


@agents.command("list")
def agents_list(context: typer.Context) -> None:
    """List the agents: number, name, team, and who knows the team."""
    from earwitness.agents import describe_agents

    for line in describe_agents(context.obj.config):
        typer.echo(line)


def _ask_password() -> str:
    """Ask twice on a terminal, without echo; else read the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@rules.command("test")
def rules_test(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="TOML with [[rule]] as in config.toml.")],
    days: Annotated[int, typer.Option(min=1, help="How many days of past calls.")] = 30,
) -> None:
    """Try draft rules on past calls: list the calls whose recording would change."""
    from earwitness.rules import try_file

    with context.obj.used() as config:
        for line in try_file(config, file, days, partial(typer.echo, err=True)):
            typer.echo(line)


def _run_role(name: str, invocation: Invocation) -> None:
    from earwitness.roles import ROLES

    with invocation.used() as config:
        ROLES[name](config)


def main() -> None:
    """Run a command; print an error of ours as one line, without a traceback."""
    keep_files_private()
    allow_open_files()
    try:
        app()
    except ConfigurationInvalid as error:
        print(f"earwitness: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except EarwitnessError as error:
        print(f"earwitness: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
