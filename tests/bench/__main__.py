"""`python -m bench`: create sessions 1, 10 and 50 at once, print a table and write the figures as JSON."""

import argparse
import json
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import cluster
from bench import measure, report
from e2e import install
from e2e.api import Api
from e2e.operator_pod import Operator
from e2e.terminal import Terminal

RESULTS = Path(__file__).with_name("results")
ROUNDS = {1: 20, 10: 3}
"""How often a size is repeated; sizes that are not here are measured once, their sessions being many enough."""


def main() -> None:
    """Prepare the cluster, measure, report."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the namespace is removed all the same
    provider, images = cluster.provider(), install.build_images()
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, Operator(api, terminal), install.values(images))
    summaries: list[dict[str, object]] = []
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space:
        measure.start_at_once(api, space, 2, round_number=-1)  # the images' files get into the page cache
        for count in options.counts:
            summaries.append(_measure(api, space, count))
            _write(options.name, report.facts(api, provider.name, _commit()), summaries)
    print(report.table(summaries))
    for name, text in report.MEASURED.items():
        print(f"{name}: {text}")
    print(f"written to {_target(options.name).relative_to(install.ROOT)}")
    api.close()


def _target(name: str) -> Path:
    """Return the file of a result."""
    return RESULTS / f"{name}.json"


def _write(name: str, facts: dict[str, object], summaries: list[dict[str, object]]) -> None:
    """Write what is known so far: a run that is cut short leaves the sizes that it finished."""
    document = {"facts": facts, "measured": report.MEASURED, "runs": summaries}
    RESULTS.mkdir(exist_ok=True)
    _target(name).write_text(json.dumps(document, indent=2) + "\n")


def _measure(api: Api, space: str, count: int) -> dict[str, object]:
    """Measure one size."""
    rounds = ROUNDS.get(count, 1)
    print(f"{count} at once, {rounds} times …", flush=True)
    times = [t for number in range(rounds) for t in measure.start_at_once(api, space, count, number)]
    return report.summary(count, times)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--counts", type=_counts, default=(1, 10, 50), help="sessions at once, for example 1,10,50")
    parser.add_argument("--name", default="latest", help="name of the file under tests/bench/results")
    return parser


def _counts(text: str) -> tuple[int, ...]:
    """Return numbers from a list with commas."""
    return tuple(int(part) for part in text.split(","))


def _commit() -> str:
    """Return the commit that is measured, marked when the checkout differs from it."""
    words = ["git", "-C", str(install.ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
