"""`agentrunner store …`: check a session store, and look after what is in it.

Exit codes: 0 good, 1 not, 2 bad arguments; of `forget` also 2 where another try cannot help.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentrunner.errors import InvalidInput

_MOST_DAYS = 36_500

TYPES = ("Redis", "Postgres", "S3", "Embedded", "Custom")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    common = _common()
    commands.add_parser(
        "check", parents=[common], help="try the store out under a throw-away prefix; a line per contract"
    )
    listing = commands.add_parser("list", parents=[common], help="list the sessions under the prefix")
    one = [
        commands.add_parser("size", parents=[common], help="print the bytes of one session, with its subagents"),
        commands.add_parser("delete", parents=[common], help="delete one session, with its subagents"),
    ]
    pruning = commands.add_parser("prune", parents=[common], help="delete old conversations whose session is gone")
    _add_pruning(pruning)
    for command in (listing, pruning, *one):
        command.add_argument("--project", help="project key, as in --project=-workspace; default: all that there are")
    forgetting = commands.add_parser(
        "forget", help="remove a session's conversation and archived workspace, by the settings that its host has"
    )
    for command in (*one, forgetting):
        command.add_argument("session", help="session id")


def _add_pruning(pruning: argparse.ArgumentParser) -> None:
    """Add what says whose conversations stay."""
    pruning.add_argument(
        "--living",
        required=True,
        metavar="FILE",
        help="what `kubectl get agentsessions,agentpools --output json` prints in the namespace; `-` is stdin",
    )
    pruning.add_argument(
        "--older-than-days", required=True, type=_days, metavar="DAYS", help="leave what has changed since alone"
    )
    pruning.add_argument("--delete", action="store_true", help="delete them; without it they are only listed")
    pruning.add_argument("--none-living", action="store_true", help="the namespace has no session any more")
    pruning.add_argument(
        "--implicit-too", action="store_true", help="delete conversations of ids that never had a resource as well"
    )


def _days(text: str) -> int:
    """Return an age in days; one that has just begun may not be in the list yet."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be a whole number of days from 1 to {_MOST_DAYS}")
    return int(text)


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--type", required=True, choices=TYPES)
    common.add_argument("--prefix", required=True, help="`sessionStore.prefix`, a slash, and the namespace")
    common.add_argument(
        "--secrets", required=True, metavar="DIR", help="directory with a file for each key of the Secret"
    )
    common.add_argument("--bucket", help="S3: name of the bucket")
    common.add_argument("--endpoint", help="S3: URL of the server; default: AWS")
    common.add_argument("--region", help="S3: region that requests are signed for")
    common.add_argument("--entry-point", metavar="MODULE:FACTORY", help="Custom: the factory")
    return common


def run(options: argparse.Namespace) -> int:
    """Do what the arguments say; return the exit code."""
    # Only now: the SDK takes a second to load, and `--help` should not wait for it.
    from agentrunner.archive.errors import ArchiveError, ArchiveRefused
    from agentrunner.keeping.forgetting import forget
    from agentrunner.stores import administration, check, pruning, settings
    from agentrunner.stores.base import StoreError, StoreRefused

    try:
        if options.action == "forget":
            asyncio.run(forget(options.session, Path.cwd(), _say))
            return 0
        document = settings.from_arguments(options)
        if options.action == "check":
            return 0 if asyncio.run(check.check(document, _say)) else 1
        actions: dict[str, Callable[..., Awaitable[int]]] = {
            "list": administration.list_all,
            "size": administration.size,
            "delete": administration.delete,
            "prune": pruning.prune,
        }
        return asyncio.run(administration.using(document, actions[options.action], options, _say))
    except InvalidInput as error:
        print(f"agentrunner store: {error}", file=sys.stderr)
        return 2
    except (StoreError, ArchiveError) as error:
        print(f"agentrunner store: {error}", file=sys.stderr)
        final = options.action == "forget" and isinstance(error, StoreRefused | ArchiveRefused)
        return 2 if final else 1


def _say(line: str) -> None:
    print(line, flush=True)
