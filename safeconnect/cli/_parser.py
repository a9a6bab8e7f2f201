"""The arguments of all commands and their help."""

from __future__ import annotations

import argparse
import socket
import sys

from .. import __version__
from . import _run_arguments
from ._actions import SHELLS, PrintCompletion, PrintManual, commands
from ._argument_types import (
    count,
    deadline,
    expected_bytes,
    host_name,
    port,
    positive_seconds,
    seconds,
    target,
    variable,
)
from ._help import Parser, formatter
from ._targets import statuses, wait_target, wrong_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DESCRIPTION = "Wait for TCP servers, reserve and list ports, and find out why a connect fails."
_EPILOG = """\
`safeconnect COMMAND --help` says more about each command, and --man prints all
of it as a manual page. Data goes to standard output, messages go to standard
error. With the extra `cli` installed (pip install 'safeconnect[cli]') terminals
get colours and live lines, and shells complete the commands; off Linux, `ports`
and `doctor` need it to see the sockets.

environment:
  NO_COLOR     no colours, whatever the value
  FORCE_COLOR  colours also where the output is no terminal
  SAFECONNECT  safe connects in Python programs: see safeconnect run --help

exit status:
  0    done
  1    failed
  2    wrong usage
  124  not within the timeout
  130  interrupted by Ctrl-C
  143  ended by SIGTERM

examples:
  safeconnect wait db:5432 -- ./serve
  safeconnect doctor db:5432
"""

_WAIT = """\
Wait until every TARGET is up, then exit with 0, or run CMD in this process's
place. Each try is reset at once and leaves nothing behind. A connection to
itself, which a plain client gets sooner or later on a closed port in the
machine's range of source ports, does not count.

targets, and when they are up:
  HOST:PORT, [IPV6]:PORT, :PORT, tcp://HOST:PORT, unix:PATH
        connected; with --expect, the server has sent this
  http://HOST[:PORT][/PATH], https://...
        the response to GET has status 200 to 299, or one of --status;
        redirects are not followed
  postgresql://HOST[:PORT], postgres://...
        it asks for a password, or refuses a user; not while it starts up
  mysql://HOST[:PORT], mariadb://...
        it greets; not while it has too many connections
  redis://HOST[:PORT], rediss://...
        it answers PING; not while it loads its data
User and password in a URL are sent to http and https only; nothing logs in.

exit status:
  0     up (with --gone: gone); with CMD, that of CMD
  1     it can never be up: connecting is not permitted; or, with
        --no-retry-names, the name does not exist
  2     wrong usage
  124   not within the timeout; CMD was not run
  126   CMD cannot be run
  127   CMD was not found
  130   interrupted by Ctrl-C

examples:
  safeconnect wait db:5432 && ./migrate
  safeconnect wait db:5432 cache:6379 --timeout 60 -- ./serve --port 8000
  safeconnect wait postgresql://db redis://cache -t 1m -- ./serve
  safeconnect wait https://app/health --status 200-399,401
  safeconnect wait [::1]:25 --expect '220 ' --attempt-timeout 5
  safeconnect wait cache:11211 --send 'version\\r\\n' --expect 'VERSION '
  safeconnect wait localhost:8000 --gone --timeout 10
  safeconnect wait app-0.app:8080 -t 2m --no-retry-names
"""

_DOCTOR = """\
Check what this machine has set for TCP connects, and say what is wrong and what
to do. With a target, also connect to each of its addresses, one after another.
Nothing is changed.

exit status:
  0     nothing is wrong, or nothing that makes connects fail
  1     something makes connects fail: a finding of severity error
  2     wrong usage
  130   interrupted by Ctrl-C

examples:
  safeconnect doctor
  safeconnect doctor db.internal:5432
  safeconnect doctor --json | jq '.findings[] | select(.severity == "error")'
"""

_PORTS = """\
Run CMD with free ports that are reserved for it. Without CMD, list the ports in
use.

With CMD, the ports are in its environment. Each is bound at every address, and
the kernel gives it to nobody. The server binds to it as servers do, with
SO_REUSEADDR or SO_REUSEPORT, and listens. A server without them fails with
"address already in use": it needs --release. CMD takes this process's place, so
that its signals and its exit status are its own, and it keeps the ports until
it ends.

environment of CMD:
  PORT             the first port, or the variable of --env
  PORT1, PORT2...  all of them in order, with more than one

Without CMD, the list has the listening ports of this machine, says which of
them connect() may choose as source ports as well, and how many source ports
its connections take. With PORT, it has every socket that has that port,
listening or not, or is connected to it.

exit status:
  that of CMD
  0     the list is printed
  1     no port could be reserved, or the list could not be read
  2     wrong usage
  126   CMD cannot be run
  127   CMD was not found
  130   interrupted by Ctrl-C

examples:
  safeconnect ports
  safeconnect ports 8080
  safeconnect ports --json | jq '.listening[] | select(.exposure == "exposed")'
  safeconnect ports -- sh -c 'python3 -m http.server $PORT'
  safeconnect ports -n 2 --env APP_PORT -- ./serve
"""

_CONNECT = """\
Connect once and show each step on a timeline: the lookups, and each address
that was tried; then the state of the connection, or why there is none. Nothing
is sent, and the connection is closed in order. With --repeat, connect many
times and print percentiles.

exit status:
  0     connected (with --repeat: every time)
  1     not connected
  2     wrong usage
  124   not within the timeout
  130   interrupted by Ctrl-C

examples:
  safeconnect connect example.org:443
  safeconnect connect [::1]:8080 --timeout 2
  safeconnect connect localhost:5432 --repeat 1000
"""

_DEMO = """\
Show on this machine, in a few seconds, how the standard library connects to
itself on a closed port, how that blocks the port for a server, and how
safeconnect does neither. With --port, use a port of your choice, which is free
again afterwards.

exit status:
  0     all of it was seen
  1     it was not, or it cannot be seen at that port; the reason is printed
  2     wrong usage
  130   interrupted by Ctrl-C

examples:
  safeconnect demo
  safeconnect demo --port 40000
"""


# argparse cannot describe what follows `--`.
_USAGE = {
    "wait": """TARGET... [-4 | -6] [-t SECONDS | --forever]
                        [--interval SECONDS] [--attempt-timeout SECONDS]
                        [--gone] [--any] [--send TEXT] [--expect TEXT]
                        [--status LIST] [--insecure] [--no-retry-names]
                        [-q | -v] [--json] [-- CMD ...]""",
    "ports": """[-n N] [--env NAME] [--host ADDRESS] [--release]
                         [--json] -- CMD ...
       safeconnect ports [PORT] [--json]""",
    "run": _run_arguments.USAGE,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; ``command`` is what follows the first ``--``.

    :param argv: the arguments after the name of the program.
    :raises SystemExit: with 2 after wrong usage, with 0 after ``--help`` and the like.
    """
    argv = _run_arguments.with_dashes(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    dashes, command = end < len(argv), argv[end + 1 :]
    program = _parser(argv[0] if argv else "")
    _check_options(commands(program).choices.get(argv[0] if argv else ""), argv[1:end])
    arguments, unknown = program.parse_known_args(argv[:end])
    name = arguments.module
    parser: argparse.ArgumentParser = vars(arguments).pop("parser")  # the command's, whose usage an error shows
    mistake = wrong_use(arguments) if name == "_wait" else ""
    for is_wrong, message in (
        (unknown, f"unrecognized arguments: {' '.join(unknown)}"),
        (mistake, mistake),
        (dashes and name not in ("_wait", "_ports", "_run"), "only wait, ports and run take a command after --"),
        (name == "_run" and not dashes, "there is no PROGRAM to run"),
        (name == "_run" and command == ["-m"], "-m needs the name of a module"),
        (command and not command[0], "the command after -- has no name"),
        (dashes and not command, "there is no command after --"),
        (
            name == "_ports" and dashes and arguments.port is not None,
            "PORT is not allowed with a command: -n says how many ports it is to have",
        ),
        (
            name == "_ports"
            and not dashes
            and (arguments.release or {arguments.number, arguments.env, arguments.host} != {None}),
            "-n, --env, --host and --release need a command after --",
        ),
    ):
        if is_wrong:
            parser.error(message)
    arguments.command = command
    return arguments


def _check_options(parser: argparse.ArgumentParser | None, words: Sequence[str]) -> None:
    """Refuse a long option that is not known, before its value is taken for another argument and blamed."""
    known = parser._option_string_actions if parser else {}  # noqa: SLF001 - argparse tells them in no other way
    options = [word for word in words if word.startswith("--") and " " not in word]  # with a space it is a value
    unknown = [word for word in options if word.partition("=")[0] not in known]
    if parser and unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")


def _parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser: with all commands, or with this one alone if there is such a command."""
    parser = Parser(
        prog="safeconnect",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=formatter(sys.stdout),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help=f"print what completes the commands in a shell ({', '.join(SHELLS)}), and exit",
    )
    man_help = "print the manual page, for `man -l -`, and exit"
    parser.add_argument("--man", action=PrintManual, nargs=0, help=man_help)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [command] if command in _COMMANDS else _COMMANDS:
        summary, text, add_arguments = _COMMANDS[name]
        description, _, epilog = text.partition("\n\n")
        added = subparsers.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            usage=f"safeconnect {name} {_USAGE[name]}" if name in _USAGE else None,
            formatter_class=formatter(sys.stdout),
            allow_abbrev=False,
        )
        added.set_defaults(module=f"_{name}", parser=added)
        add_arguments(added)
        if name not in ("demo", "run"):
            added.add_argument("--json", action="store_true", help="print the result as JSON, for programs")
    return parser


def _add_wait(parser: argparse.ArgumentParser) -> None:
    target_help = "HOST:PORT, or a URL: see below"
    parser.add_argument("targets", nargs="+", type=wait_target, metavar="TARGET", help=target_help)
    _add_family(parser)
    time_help = (
        "for all of it (default 30), also as 500ms, 30s or 1m; 0 makes one try (in wait-for-it it waits without a"
        " limit: here --forever does)"
    )
    limit = parser.add_mutually_exclusive_group()
    _add_seconds(limit, "--timeout", 30.0, time_help, deadline)
    limit.add_argument("--forever", action="store_const", const=None, dest="timeout", help="as --timeout none")
    attempt_help = "for one try: lookup, connect and answer (default 1; 5 for the protocols of URLs)"
    _add_seconds(parser, "--attempt-timeout", None, attempt_help)
    interval_help = "the longest pause between two tries (default 1); the first is 25 ms, then they grow by a quarter"
    _add_seconds(parser, "--interval", 1.0, interval_help)
    parser.add_argument("--gone", action="store_true", help="wait until nobody listens any more: a connect is refused")
    parser.add_argument("--any", action="store_true", help="succeed when one target is up, or gone")
    names_help = (
        "end at once if a name does not exist, and do not wait for it: a container's appears with the container"
    )
    parser.add_argument("--no-retry-names", action="store_false", dest="retry_names", help=names_help)
    send_help = r"send this after the connect; with --expect, and with \r \n \t \0 \\ \xHH"
    parser.add_argument("--send", type=expected_bytes, metavar="TEXT", help=send_help)
    expect_help = r"what the server must send first, such as '220 '; with \r \n \t \0 \\ \xHH"
    parser.add_argument("--expect", type=expected_bytes, metavar="TEXT", help=expect_help)
    status_help = "the statuses of http and https that are up, such as 200-399,401 (default 200-299)"
    parser.add_argument("--status", type=statuses, metavar="LIST", help=status_help)
    parser.add_argument("--insecure", action="store_true", help="accept any certificate (https, rediss)")
    talk = parser.add_mutually_exclusive_group()
    talk.add_argument("-q", "--quiet", action="store_true", help="no messages")
    talk.add_argument("-v", "--verbose", action="store_true", help="print each change in what the tries see")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    target_help = "a server: HOST:PORT, [IPV6]:PORT, or :PORT on this machine"
    parser.add_argument("target", nargs="?", type=target, metavar="TARGET", help=target_help)
    _add_seconds(parser, "--timeout", 2.0, "for each lookup, and for each address of the target (default 2)")


def _add_ports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", nargs="?", type=port, metavar="PORT", help="list who has this port (without CMD)")
    # Without defaults, to see whether they are given: each needs a command.
    parser.add_argument("-n", type=count, metavar="N", dest="number", help="how many ports (default 1)")
    env_help = "the variable for the port (default PORT); with several also NAME1, NAME2 ..."
    parser.add_argument("--env", type=variable, metavar="NAME", help=env_help)
    host_help = "where the ports must be free (default: every address, IPv4 and IPv6)"
    parser.add_argument("--host", type=host_name, metavar="ADDRESS", help=host_help)
    parser.add_argument(
        "--release",
        action="store_true",
        help="release the ports before CMD starts, for servers without SO_REUSEADDR; the kernel never chooses these"
        " ports, so only a program that asks for the same number can take one (always so on other platforms than"
        " Linux)",
    )


def _add_connect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", type=target, metavar="TARGET", help="HOST:PORT, [IPV6]:PORT, or :PORT on this machine"
    )
    _add_family(parser)
    _add_seconds(parser, "--timeout", 10.0, "for the lookup and all addresses together (default 10)")
    delay_help = "for one address alone, before the next is tried as well (default 0.25)"
    _add_seconds(parser, "--happy-eyeballs-delay", 0.25, delay_help, seconds)
    parser.add_argument(
        "--repeat", type=count, metavar="N", help="connect N times and print percentiles (default: once)"
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    port_help = "a source port that connect() prefers and nobody uses (default: one that the demo finds)"
    parser.add_argument("--port", type=port, metavar="N", help=port_help)


def _add_seconds(
    parser: argparse._ActionsContainer,
    flag: str,
    default: float | None,
    text: str,
    kind: Callable[[str], float | None] = positive_seconds,
) -> None:
    flags = ["-t", flag] if flag == "--timeout" else [flag]
    parser.add_argument(*flags, type=kind, default=default, metavar="SECONDS", help=text)


def _add_family(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.set_defaults(family=socket.AF_UNSPEC)
    for flags, family in ((("-4", "--ipv4"), socket.AF_INET), (("-6", "--ipv6"), socket.AF_INET6)):
        text = f"IPv{flags[0][1]} addresses only"
        group.add_argument(*flags, action="store_const", const=family, dest="family", help=text)


# Of each command: the summary, the help (its first paragraph stands above the arguments), what adds its arguments.
_COMMANDS = {
    "wait": ("wait until a port is up, or gone, then run a command", _WAIT, _add_wait),
    "doctor": ("say what is wrong here with TCP connects", _DOCTOR, _add_doctor),
    "ports": ("run a command with free ports; list those in use", _PORTS, _add_ports),
    "connect": ("connect once and show how", _CONNECT, _add_connect),
    "run": ("run a Python program with safe connects", _run_arguments.TEXT, _run_arguments.add),
    "demo": ("show a self-connect, and what it leaves behind", _DEMO, _add_demo),
}
