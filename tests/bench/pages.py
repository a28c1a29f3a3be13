"""The figures of `bench.hosts` as sections of Markdown, to be pasted into docs/benchmarks.md; pure."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from e2e.api import Json

WIDTH = 120


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    first, *others = (f"| {' | '.join(map(_cell, line))} |" for line in [head, *rows])
    return "\n".join([first, "|" + "---|" * len(head), *others])


def section(title: str, text: str, *tables: str) -> str:
    """Return a section."""
    return "\n\n".join([f"## {title}", fill(text, WIDTH), *tables])


def machine(facts: Json) -> str:
    """Return what the figures depend on, as a sentence; nothing that names the machine, and no date."""
    node, machine = facts["nodes"][0], facts["machine"]
    memory = int(str(node["memory"]).removesuffix("Ki")) // 2**20
    return (
        f"Kubernetes {facts['kubernetes']}, {len(facts['nodes'])} nodes of {node['cpu']} CPUs and {memory} GiB, asked "
        f"from a machine of {machine['cores']} cores ({machine['processor']})."
    )


def on_one_host(rows: Sequence[Json], where: str) -> str:
    """Return the section on sessions that share a host; the first row is the host without any."""
    empty = rows[0]["hostMiB"]
    head = ["sessions", "start of one more, p50", "slowest", "memory of the host", "for each session"]
    body = [
        [row["sessions"], *_starts(row), f"{row['hostMiB']} MiB", _each(row["hostMiB"] - empty, row["sessions"])]
        for row in rows
    ]
    text = (
        "Idle sessions, each with its `claude` process. Memory is that of all processes in the pod, shared pages "
        f"counted once. A start is from `apply` until the session is Ready. {where}"
    )
    return section("Sessions on one host", text, table(head, body))


def _starts(row: Json) -> list[str]:
    return [f"{row[name]:.2f} s" if name in row else "" for name in ("startP50", "startMax")]


def _each(added: float, count: int) -> str:
    return f"{added / count:.0f} MiB" if count else ""


def beside_direct_calls(rows: Sequence[Json], where: str) -> str:
    """Return the section on what the gateway adds to a request."""
    head = ["requests at once", "way", "requests/s", "p50", "p99"]
    body: list[list[object]] = []
    for row in rows:
        direct, gateway = row["direct"], row["gateway"]
        body += [[row["atOnce"], name, row[name]["perSecond"], *_times(row[name])] for name in ("direct", "gateway")]
        added = {name: gateway[name] - direct[name] for name in ("p50Ms", "p99Ms")}
        body.append([row["atOnce"], "added by the gateway", "", *_times(added)])
    text = (
        "`GET` of a session's state from the same place by both ways, in turns: at the host itself with a token of the "
        f"control plane, and through one gateway, which is Envoy and a decision of the directory. {where}"
    )
    return section("The gateway beside direct calls", text, table(head, body))


def _times(figures: Json) -> list[str]:
    return [f"{figures[name]:.1f} ms" for name in ("p50Ms", "p99Ms")]


def idle_streams(rows: Sequence[Json], where: str) -> str:
    """Return the section on streams that are open and silent."""
    head = ["streams", "opened", "still open", "Envoys", "directories", "the host", "streams per MiB of Envoy"]
    body = [
        [
            f"{row['count']} {row['name']}",
            row["opened"],
            f"{row['open']} after {row['seconds']} s",
            *(f"{row['addedMiB'][part]:.1f} MiB" for part in ("envoys", "directories", "host")),
            _per(row["open"], row["addedMiB"]["envoys"]),
        ]
        for row in rows
    ]
    text = (
        "Streams on which nobody says anything, through the gateways' Service to the sessions of one host, and the "
        f"memory that they add: to all Envoys, to all directories, to the host's own process. {where}"
    )
    return section("Idle streams", text, table(head, body))


def _per(count: int, mib: float) -> str:
    return f"{count / mib:.0f}" if mib > 0 else ""


def _cell(value: object) -> str:
    return str(value)


def waking(found: Sequence[Json], alone: Sequence[Json], archive: Json, where: str) -> str:
    """Return the section on sessions that wake and fall asleep."""
    head = ["conversation", *(row["store"] for row in found), "SDK alone, from Redis"]
    body: list[list[object]] = [["none: the first wake", *(f"{row['cold']:.1f} s" for row in found), ""]]
    for place, row in enumerate(alone):
        lengths = [one["rows"][place] for one in found]
        turns = f"{row['turns']} turns, {lengths[0]['bytes'] / 2**20:.1f} MiB"
        times = [f"{one['p50']:.1f} s ({one['max']:.1f})" for one in lengths]
        body.append([turns, *times, f"{sorted(row['seconds'])[len(row['seconds']) // 2]:.1f} s"])
    body.append(["put away, until it says `Suspended`", *(f"{row['sleep']:.1f} s" for row in found), ""])
    text = (
        "From a message to a session that sleeps until the agent's first word: gateway, pod, conversation, CLI and "
        "model stand-in included; median of three, the slowest in brackets. The last column is the SDK's own resume in "
        f"a process that is there already, without a pod, a gateway or a kubelet. {where}"
    )
    rate = archive["megabytes"] / archive["sleep"]
    more = (
        f"A workspace of {archive['megabytes']} MB ({archive['packed'] / 10**6:.0f} MB packed): "
        f"{archive['sleep']:.1f} s to put away ({rate:.0f} MB/s, all of it included), {archive['wake']:.1f} s from a "
        "message to the first word."
    )
    return section("Sessions that wake", text, table(head, body), fill(more, WIDTH))
