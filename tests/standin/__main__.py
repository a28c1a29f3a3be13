"""`python -m standin [--host H] [--port P]`: run the stand-in until it is told to stop."""

import argparse

from aiohttp import web

from standin.server import make_app


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="standin", description="A scripted stand-in for the Messages API.")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default: 8080)")
    arguments = parser.parse_args()
    web.run_app(make_app(), host=arguments.host, port=arguments.port, access_log=None, shutdown_timeout=1.0)


if __name__ == "__main__":
    main()
