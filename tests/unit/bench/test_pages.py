"""Figures of the bench as Markdown."""

from bench import pages

HOST = [
    {"sessions": 0, "hostMiB": 100},
    {"sessions": 1, "hostMiB": 250, "startP50": 1.234, "startMax": 1.5},
    {"sessions": 5, "hostMiB": 800, "startP50": 2.0, "startMax": 3.0},
]
FACTS = {
    "kubernetes": "v1.37.2",
    "nodes": [{"cpu": "2", "memory": "25165824Ki"}] * 2,
    "machine": {"cores": 2, "processor": "A Processor", "python": "3.11"},
}


def rows(text: str) -> list[list[str]]:
    """Return the cells of a section's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_memory_of_a_session_is_what_sessions_add_to_the_empty_host() -> None:
    assert rows(pages.on_one_host(HOST, "")) == [
        ["0", "", "", "100 MiB", ""],
        ["1", "1.23 s", "1.50 s", "250 MiB", "150 MiB"],
        ["5", "2.00 s", "3.00 s", "800 MiB", "140 MiB"],
    ]


def test_what_the_gateway_adds_is_the_difference() -> None:
    direct = {"perSecond": 900, "p50Ms": 1.0, "p99Ms": 2.0}
    found = pages.beside_direct_calls(
        [{"atOnce": 1, "direct": direct, "gateway": {"perSecond": 300, "p50Ms": 3.5, "p99Ms": 9.0}}], ""
    )
    assert rows(found) == [
        ["1", "direct", "900", "1.0 ms", "2.0 ms"],
        ["1", "gateway", "300", "3.5 ms", "9.0 ms"],
        ["1", "added by the gateway", "", "2.5 ms", "7.0 ms"],
    ]


def test_streams_are_set_against_the_memory_that_they_add() -> None:
    added = {"envoys": 50.0, "directories": 0.04, "host": -0.2}
    row = {"name": "WebSockets", "count": 1000, "opened": 1000, "open": 999, "seconds": 60, "addedMiB": added}
    free = row | {"addedMiB": added | {"envoys": 0.0}}
    assert rows(pages.idle_streams([row, free], "")) == [
        ["1000 WebSockets", "1000", "999 after 60 s", "50.0 MiB", "0.0 MiB", "-0.2 MiB", "20"],
        ["1000 WebSockets", "1000", "999 after 60 s", "0.0 MiB", "0.0 MiB", "-0.2 MiB", ""],
    ]


def test_a_section_says_where_it_was_measured_and_no_more() -> None:
    text = pages.machine(FACTS)
    assert text == "Kubernetes v1.37.2, 2 nodes of 2 CPUs and 24 GiB, asked from a machine of 2 cores (A Processor)."
    assert pages.on_one_host(HOST, text).startswith("## Sessions on one host\n\n")
    found = pages.on_one_host(HOST, text)
    assert text in " ".join(found.split())
    assert max(map(len, found.splitlines())) <= pages.WIDTH
