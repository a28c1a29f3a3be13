"""`agentrunner run`, `serve` and `store`: the entry points of the agent image."""

import argparse
import os
import sys
from pathlib import Path

from agentrunner.serving.disk import holds_sessions
from agentrunner.stopping import StopFlag
from agentrunner.stores import console


def main() -> None:
    """Parse the arguments, run, and exit with the attempt's code."""
    parser = argparse.ArgumentParser(prog="agentrunner", description="Run a Claude Agent SDK session in a pod.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run one task to its end, report it, and exit")
    commands.add_parser("serve", help="hold many sessions and answer over HTTP, until told to stop")
    console.add_arguments(commands.add_parser("store", help="check a session store, or look after what is in it"))
    options = parser.parse_args()
    chosen = options.command
    if chosen == "store":
        sys.exit(console.run(options))
    stop = StopFlag()
    if chosen == "serve" and not holds_sessions(os.environ):
        stop.leave_at_once()
    # Only now: the SDK takes a second to load; neither `--help` nor a signal should wait for it.
    from agentrunner.events import EventLog

    if chosen == "serve":
        from agentrunner.serving.serve import serve

        sys.exit(serve(dict(os.environ), Path.cwd(), EventLog(), stop))
    from agentrunner.run import run

    sys.exit(run(dict(os.environ), Path.cwd(), EventLog(), stop))


if __name__ == "__main__":
    main()
