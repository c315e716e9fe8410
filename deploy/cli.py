"""The command `ocr-fleet`. Reads its arguments and hands over; what takes long to import is
imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from shared.settings import FIELDS, ROUTER, Fleet, read_fleet
from shared.sources import SettingError, environment_name
from shared.values import described, expected

FLEET_FILE = Path(__file__).with_name("fleet.toml")

EXIT_WRONG_SETTING = 2

MAIN_HELP = """Five documented OCR services that read real pages, with or without a GPU.

\b
  ocr-fleet up                       start all five and the router, stay in the foreground
  ocr-fleet up dots deepseek         start two of them
  ocr-fleet serve dots --port 5001   run one alone, as a container does
  ocr-fleet serve router             run the router alone: any dialect in, any model out
  ocr-fleet settings dots            what is in force, and where it comes from
  ocr-fleet key alice                make an API key

Settings come from the environment, then from the fleet file, then from the
service. OCR_FLEET_<NAME> concerns every service, OCR_FLEET_<SERVICE>_<NAME>
one, OCR_FLEET_ROUTER_<NAME> the router; `ocr-fleet settings --help` lists the
names.
"""

UP_HELP = """Start the services and the router and stay in the foreground with their logs.

Without names, all of the fleet file; the router's name is `router`. Prints one table and one
command to paste when all are ready. A service that dies is started again, after 1, 2, 5, 10, then
every 30 seconds; one whose port is taken or whose settings are wrong is left out, and the table
says why. dots may read images of the folder this is started in.

Ctrl-C or SIGTERM lets running requests finish (OCR_FLEET_DRAIN_S) and ends with status 0; a
second Ctrl-C kills at once. Ends with status 1 when no service could be started, with 2 when
the settings are wrong.

\b
  ocr-fleet up
  ocr-fleet up --without chatvlm
  ocr-fleet up dots deepseek router
  OCR_FLEET_PADDLE_PORT=9001 ocr-fleet up paddle
"""

SERVE_HELP = """Run one SERVICE, or the `router`, in this process until SIGTERM or Ctrl-C.

Then it takes no new work, lets running requests finish for OCR_FLEET_DRAIN_S seconds, and ends
with status 0. Status 1: it could not start, for example because its port is taken. Status 2: a
setting is wrong.

The router listens on two ports: --port speaks every dialect, --legacy-port (0: none) is the one
that deepseek's and chatvlm's documents share. It reads the fleet file again when that changes, or
on SIGHUP; so does whoever asks for API keys with their file.

\b
  ocr-fleet serve lighton
  ocr-fleet serve deepseek --host 0.0.0.0 --port 8000
  OCR_FLEET_ENGINE=fake ocr-fleet serve dots
  ocr-fleet serve router --host 0.0.0.0 --legacy-port 0
"""

SETTINGS_HELP = """Print the settings in force and where each comes from.

\b
  ocr-fleet settings                 of every service, what is not a default
  ocr-fleet settings dots            all of one service
  ocr-fleet settings router          all of the router
  OCR_FLEET_DOTS_SLOTS=4 ocr-fleet settings dots

"""

KEY_HELP = """Make an API key for NAME, and print it with the lines that let it in.

The lines go into a file that OCR_FLEET_KEYS_FILE names: then the router and the services ask
every request for one of its keys (Authorization: Bearer KEY, or X-API-Key: KEY).
OCR_FLEET_ROUTER_KEYS_FILE asks at the router alone. The file holds no key, only what one can be
recognised by; it is read again when it changes.

\b
  ocr-fleet key alice
"""


KEY_OPTIONS = """\
# requests_per_minute = 60
# share = 0.5                 # of a service's slots, at once
# models = ["dots-ocr"]       # no others
"""


def main() -> None:
    """The console script's entry."""
    command.main(prog_name="ocr-fleet")


@click.group(help=MAIN_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--fleet",
    "fleet_file",
    envvar="OCR_FLEET_FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=FLEET_FILE,
    help="The fleet file, also OCR_FLEET_FILE; without it the one that ships with the package.",
)
@click.version_option(package_name="ocr-fleet")
@click.pass_context
def command(context: click.Context, fleet_file: Path) -> None:
    try:
        context.obj = read_fleet(fleet_file.resolve())
    except SettingError as error:
        _refuse(error)


@command.command(help=UP_HELP)
@click.argument("services", nargs=-1)
@click.option("--without", multiple=True, metavar="SERVICE", help="Leave one out; repeatable.")
@click.pass_obj
def up(fleet: Fleet, services: tuple[str, ...], without: tuple[str, ...]) -> None:
    from deploy.up import run_up  # noqa: PLC0415 - asyncio is not for --help

    try:
        sys.exit(run_up(fleet, dict(os.environ), services, without))
    except SettingError as error:
        _refuse(error)


@command.command(help=SERVE_HELP)
@click.argument("service")
@click.option("--host", help="Address to listen on; also OCR_FLEET_HOST. Containers want 0.0.0.0.")
@click.option("--port", help="Port to listen on; also OCR_FLEET_<SERVICE>_PORT. 0 takes any.")
@click.option("--legacy-port", help="The router's second port; also OCR_FLEET_ROUTER_LEGACY_PORT.")
@click.option("--parent-pid", type=int, hidden=True, help="End when that process does.")
@click.pass_obj
def serve(
    fleet: Fleet,
    service: str,
    host: str | None,
    port: str | None,
    legacy_port: str | None,
    parent_pid: int | None,
) -> None:
    from deploy.serve import serve as run  # noqa: PLC0415 - the server is not for --help

    environ = dict(os.environ)
    if legacy_port is not None and service != ROUTER:
        raise click.UsageError("--legacy-port is the router's alone")
    for name, value in (("host", host), ("port", port), ("legacy_port", legacy_port)):
        if value is not None:
            environ[environment_name(name, service)] = value
    sys.exit(run(service, fleet, environ, parent_pid))


class _SettingsCommand(click.Command):
    """Its help is the list of all settings, from the Structs that hold them."""

    def get_help(self, ctx: click.Context) -> str:
        self.help = _settings_help()
        return super().get_help(ctx)


def _settings_help() -> str:
    from deploy.load import router_fields  # noqa: PLC0415 - it loads the router's parts

    lines = [SETTINGS_HELP]
    for title, fields in (
        ("Names, for OCR_FLEET_<NAME> and [services.<service>]:", FIELDS),
        ("Names, for OCR_FLEET_ROUTER_<NAME> and [router]:", router_fields()),
    ):
        lines += ["\b", title]
        for name, kind in fields.items():
            lines += [f"  {name.upper()}", f"      {described(kind)}", f"      ({expected(kind)})"]
        lines.append("")
    return "\n".join(lines)


@command.command(
    cls=_SettingsCommand, help=SETTINGS_HELP, short_help="Print the settings in force."
)
@click.argument("services", nargs=-1)
@click.pass_obj
def settings(fleet: Fleet, services: tuple[str, ...]) -> None:
    from deploy.show import show_settings  # noqa: PLC0415 - it loads the services' own defaults

    try:
        show_settings(fleet, dict(os.environ), services)
    except SettingError as error:
        _refuse(error)


@command.command(help=KEY_HELP)
@click.argument("name")
def key(name: str) -> None:
    from shared.keys import make_key  # noqa: PLC0415 - wanted by nobody else

    try:
        shown, lines = make_key(name)
    except SettingError as error:
        _refuse(error)
    click.echo(f"The key, shown this once:\n\n    {shown}\n")
    click.echo(f"The lines for the file that OCR_FLEET_KEYS_FILE names:\n\n{lines}{KEY_OPTIONS}")


def _refuse(error: SettingError) -> NoReturn:
    click.echo(f"ocr-fleet: {error}", err=True)
    sys.exit(EXIT_WRONG_SETTING)


if __name__ == "__main__":
    main()
