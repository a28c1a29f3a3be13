"""`python -m images build [NAME…]`: build images and print where their archives are.

`python -m images ahead` builds those that tests on a cluster run, so that they are there by then. It ends with whoever
called it.
"""

import argparse
import signal
import sys
from pathlib import Path

from cluster.caller import end_with_caller
from images.build import build_archives
from images.catalog import BASE, DEPLOYED, TESTED
from images.errors import ImageError


def main() -> None:
    """Parse the arguments and build."""
    # An end by request, too, has to go through the code that tidies up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _parser().parse_args()
    if options.command == "ahead":
        end_with_caller()
    try:
        for archive in build_archives(options.names or DEPLOYED, options.out, verbose=options.verbose):
            print(archive)
    except ImageError as error:
        sys.exit(f"images: {error}")
    except KeyboardInterrupt:
        sys.exit("images: interrupted")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="images", description="Build the project's images into archives.")
    commands = parser.add_subparsers(dest="command", required=True)
    ahead = commands.add_parser("ahead", help="build what tests run, for as long as the caller lives")
    ahead.set_defaults(names=TESTED, out=None, verbose=False)
    build = commands.add_parser("build", help="build, or find in the cache")
    build.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join([*DEPLOYED, BASE])}; default: all but {BASE}"
    )
    build.add_argument("--out", type=Path, help="folder for the archives; default: the cache")
    build.add_argument("--verbose", action="store_true", help="show what the builder says")
    return parser


if __name__ == "__main__":
    main()
