"""`python -m images build [NAME…]`: build images and print where their archives are."""

import argparse
import sys
from pathlib import Path

from images.build import build_archives
from images.catalog import BASE, DEPLOYED
from images.errors import ImageError


def main() -> None:
    """Parse the arguments and build."""
    parser = argparse.ArgumentParser(prog="images", description="Build the project's images into archives.")
    build = parser.add_subparsers(dest="command", required=True).add_parser("build", help="build, or find in the cache")
    build.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join([*DEPLOYED, BASE])}; default: all but {BASE}"
    )
    build.add_argument("--out", type=Path, help="folder for the archives; default: the cache")
    build.add_argument("--verbose", action="store_true", help="show what the builder says")
    options = parser.parse_args()
    try:
        for archive in build_archives(options.names or DEPLOYED, options.out, verbose=options.verbose):
            print(archive)
    except ImageError as error:
        sys.exit(f"images: {error}")


if __name__ == "__main__":
    main()
