"""`python -m bench`: create sessions 1, 10 and 50 at once, print a table and write the figures as JSON."""

import argparse
import json
import secrets
import subprocess
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
    provider, images = cluster.provider(), install.build_images()
    install.provide(provider, images)
    terminal, api = Terminal(provider.kubeconfig()), Api(provider.kubeconfig())
    install.install_stand_in(terminal, api, images)
    install.install_operator(terminal, Operator(api, terminal), install.values(images))
    with measure.namespace(api, f"bench-{secrets.token_hex(3)}") as space:
        measure.start_at_once(api, space, 2, round_number=-1)  # the images' files get into the page cache
        summaries = [_measure(api, space, count) for count in options.counts]
    print(report.table(summaries))
    for name, text in report.MEASURED.items():
        print(f"{name}: {text}")
    document = {"facts": report.facts(api, provider.name, _commit()), "measured": report.MEASURED, "runs": summaries}
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{options.name}.json"
    target.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {target.relative_to(install.ROOT)}")
    api.close()


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
