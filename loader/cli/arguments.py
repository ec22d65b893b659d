"""What can be written after ``flow-loader``: a table of commands, each with its own arguments.

Standard library only: a mistake or a request for help is answered without importing the engine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn

FORMATS = ("text", "json", "msgpack")
DIALECTS = ("auto", "orion", "prefect2", "prefect3")
PROGRAM = "flow-loader"
MOST_JOBS = 256
LONGEST = 100
"""Characters of a word that may be a known one, misspelt."""
ABOUT = "Run a flow script in a worker that can do nothing but compute, and say what it holds."
EXITS = """\
exit codes:
  0    loaded; or the question was answered
  1    the script's fault
  2    the caller's: an unknown option, a file or profile that cannot be read, parameters that do not fit
  3    the host's: a required guarantee cannot be had here
  4    no such flow or deployment, or several and none named
  70   flow-loader's own
  130  interrupted
"""


class UsageError(Exception):
    """The caller's mistake. ``hint`` is what to write instead, if that can be guessed."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError where argparse would print and exit."""

    def __init__(self, **values: Any) -> None:
        values.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **values)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments."""
        raise UsageError(f"cannot read the arguments: {message}", f"see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments' values. Raises UsageError, for an unknown option with the one that may be meant."""
        values, unknown = self.parse_known_args(arguments)
        if not unknown:
            return values
        word = unknown[0]
        if not word.startswith("-"):
            raise UsageError(f"cannot use the argument {word!r}: one too many", f"see {self.prog} --help")
        option = word.partition("=")[0]
        known = [text for action in self._actions for text in action.option_strings if len(text) > 2]
        hint = did_you_mean(option, known) or f"see {self.prog} --help"
        raise UsageError(f"cannot use the option {option!r}: {self.prog} has no such option", hint)


@dataclass(frozen=True)
class Command:
    """One command: the module with its ``run``, what it does, and its arguments."""

    module: str
    summary: str
    add_arguments: Callable[[Parser], None]


def add_load(parser: Parser) -> None:
    """Arguments of ``load``."""
    add_loading(parser, "path or URL of a script; - is standard input")
    add_format(parser)


def add_specs(parser: Parser) -> None:
    """Arguments of ``specs``."""
    add_loading(parser, "path or URL of a script or a YAML manifest; - is a script on standard input")
    add_registering(parser)
    add_format(parser)


def add_deploy(parser: Parser) -> None:
    """Arguments of ``deploy``."""
    add_loading(parser, "path or URL of a script or a YAML manifest")
    add_registering(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--allow-storage",
        metavar="PREFIX",
        action="append",
        default=[],
        help="path or URL below which specs may choose storage; may be repeated",
    )
    parser.add_argument("--work-pool", metavar="NAME", help="work pool of a Prefect server")
    add_format(parser)


def add_check(parser: Parser) -> None:
    """Arguments of ``check``."""
    add_loading(parser, "path or URL of a script or a manifest, or file.py:function; - is standard input")
    parser.add_argument("--flow", metavar="NAME", help="name or function of the flow that would run")
    parser.add_argument(
        "--deployment",
        metavar="[FLOW/]NAME",
        help="deployment that would run; with its flow's name it is compared with what is registered",
    )
    parser.add_argument(
        "--parameters",
        metavar="JSON",
        help="the run's parameters, an object (default: none are looked at)",
    )
    add_registering(parser)
    add_format(parser)


def add_scan(parser: Parser) -> None:
    """Arguments of ``scan``."""
    add_loading(parser, "folder, or URL of a folder or archive")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=jobs,
        help="files looked at side by side (default: one a processor)",
    )
    add_registering(parser)
    add_format(parser)


def add_registering(parser: Parser) -> None:
    """Where deployments are, and where their flows are kept."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--registry", metavar="FILE", help="embedded registry (default: this user's, or FLOW_LOADER_REGISTRY)"
    )
    where.add_argument(
        "--api",
        metavar="URL",
        help="Prefect server, as in http://127.0.0.1:4200/api; PREFECT_API_KEY is its key",
    )
    parser.add_argument(
        "--storage", metavar="PATH|URL", help="where to keep the flows of specs that name no storage"
    )


def add_loading(parser: Parser, location: str) -> None:
    """What is loaded, and how."""
    parser.add_argument("location", metavar="LOCATION", help=location)
    parser.add_argument(
        "--profile", metavar="NAME|FILE", default="strict", help="what the script may do (default: strict)"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="wall time (default: what the profile says)"
    )
    parser.add_argument(
        "--root", metavar="FOLDER|URL", help="folder or archive that the script may read (default: its own)"
    )
    parser.add_argument(
        "--python",
        metavar="PYTHON|VENV",
        help="interpreter that the script needs, or the folder of its environment (default: our own)",
    )
    parser.add_argument(
        "--dialect", choices=DIALECTS, default=DIALECTS[0], help="how to read the script (default: auto)"
    )
    parser.add_argument(
        "--daemon",
        metavar="SOCKET|URL",
        help="let the daemon there do it (default: FLOW_LOADER_DAEMON; '' is none)",
    )
    parser.add_argument("--no-cache", action="store_true", help="take no result that the daemon kept")
    parser.add_argument(
        "--allow-host",
        metavar="HOST[:PORT]",
        action="append",
        default=[],
        help="host or network that may be reached though it is private; may be repeated",
    )
    parser.add_argument(
        "--allow-scheme",
        metavar="SCHEME",
        action="append",
        default=[],
        help="scheme of locations that specs may name outside their own folder; may be repeated",
    )


def add_serve(parser: Parser) -> None:
    """Arguments of ``serve``."""
    parser.add_argument(
        "--config", metavar="FILE", help="configuration (default: FLOW_LOADER_CONFIG, if set)"
    )
    parser.add_argument("--socket", metavar="PATH", help="Unix socket (default: in the runtime directory)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="TCP, too, for whoever bears the token")
    parser.add_argument("--token-file", metavar="FILE", help="file with the token, which only you can read")
    parser.add_argument("--certificate", metavar="FILE", help="certificate for TLS, with its --key")
    parser.add_argument("--key", metavar="FILE", help="key of the certificate")
    parser.add_argument("--log-format", choices=("console", "json"), help="how to write the log")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="the least that is written"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any key of the configuration, as in limits.queue=100; may be repeated",
    )
    parser.add_argument(
        "--print-unit",
        metavar="NAME",
        nargs="?",
        const="flow-loader.service",
        help="print a systemd unit, flow-loader.service or flow-loader.socket, and end",
    )
    add_format(parser)


def add_doctor(parser: Parser) -> None:
    """Arguments of ``doctor``."""
    add_format(parser)


def add_profiles(parser: Parser) -> None:
    """Arguments of ``profiles``."""
    parser.add_argument(
        "profile", metavar="NAME|FILE", nargs="?", help="the one to explain (default: list them)"
    )
    add_format(parser)


def add_format(parser: Parser) -> None:
    """The option that every command has."""
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print (default: text)")


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "load": Command(
            "loader.cli.load", "run one script and print its flows and deployment specs", add_load
        ),
        "check": Command(
            "loader.cli.check",
            "before a run: whether it may go ahead, and every reason why not",
            add_check,
        ),
        "specs": Command(
            "loader.cli.specs", "the deployment specs of a script or a YAML manifest, validated", add_specs
        ),
        "scan": Command(
            "loader.cli.scan", "every script and manifest below a folder, side by side", add_scan
        ),
        "deploy": Command(
            "loader.cli.deploy", "create the deployments of a script or a YAML manifest", add_deploy
        ),
        "serve": Command(
            "loader.cli.serve", "the daemon: one warm loader for a whole host, asked over HTTP", add_serve
        ),
        "doctor": Command(
            "loader.cli.doctor", "what this host can enforce, and the remedy for what not", add_doctor
        ),
        "profiles": Command(
            "loader.cli.profiles", "the sandbox profiles, and what one of them means", add_profiles
        ),
    }
)


def jobs(text: str) -> int:
    """A number of jobs. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 0 < int(text[:4]) <= MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_JOBS}")
    return int(text[:4])


def seconds(text: str) -> float:
    """A number of seconds. Raises ArgumentTypeError; whether it is in bounds is for the profile to say."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


def top() -> Parser:
    """The parser of what comes before a command."""
    listing = "\n".join(f"  {name:<10}{command.summary}" for name, command in COMMANDS.items())
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [OPTION]…",
        description=ABOUT,
        epilog=f"commands:\n{listing}\n\n{EXITS}\nsee {PROGRAM} COMMAND --help for a command's options",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def of(name: str) -> Parser:
    """The parser of one command. Raises UsageError for one that does not exist."""
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"cannot run {name!r}: {PROGRAM} has no such command", hint)
    command = COMMANDS[name]
    summary = command.summary[0].upper() + command.summary[1:] + "."
    parser = Parser(prog=f"{PROGRAM} {name}", description=summary, epilog=EXITS)
    command.add_arguments(parser)
    return parser


def asked_format(arguments: Sequence[str]) -> str:
    """The format that arguments ask for, though they may be wrong otherwise: the answer has it too."""
    found = "text"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, sign, value = word.partition("=")
        if name == "--format":
            found = value if sign else following
    return found if found in FORMATS else "text"


def did_you_mean(word: str, known: Sequence[str] | Mapping[str, Command]) -> str | None:
    """A question with the closest known word, if one is close."""
    close = get_close_matches(word, list(known), n=1) if len(word) <= LONGEST else []
    return f"did you mean {close[0]}?" if close else None
