"""The command line: `python -m cluster up|down|status|kubeconfig|nodes|load IMAGE.tar…|binary NAME|ahead`.

`ahead` builds the programs that all tests use, in the order in which these need them, and starts nothing. It ends with
whoever called it.
"""

import argparse
import signal
import sys
from pathlib import Path

from cluster import build, tools
from cluster.caller import end_with_caller
from cluster.errors import ClusterError
from cluster.progress import say
from cluster.selection import provider

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    # An end by request, too, has to go through the code that tidies up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(_parser().parse_args(arguments))
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted: `up` goes on from here, `down` removes what there is")
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "status", "kubeconfig", "nodes", "ahead"):
        commands.add_parser(name)
    commands.add_parser("load").add_argument("archives", nargs="+", type=Path)
    commands.add_parser("binary").add_argument("name")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.command == "binary":
        print(build.binary(options.name))
        return
    cluster = provider()
    match options.command:
        case "up":
            cluster.up()
        case "ahead":
            end_with_caller()
            build.ensure((*tools.TESTED, *cluster.programs))
        case "down":
            cluster.down()
        case "load":
            cluster.load_images(options.archives)
        case "status":
            print(cluster.status())
        case "kubeconfig":
            print(cluster.kubeconfig())
        case "nodes":
            print("\n".join(cluster.nodes()))


if __name__ == "__main__":
    sys.exit(main())
