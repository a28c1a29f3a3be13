"""What the host's metrics say of store and archive, and that no session is named in them."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from agentrunner.archive.errors import ArchiveUnreachable
from agentrunner.archive.vault import Restored, Saved
from agentrunner.keeping import mirror as module
from agentrunner.keeping.backends import Keeping
from agentrunner.keeping.files import TranscriptFiles
from agentrunner.keeping.keeper import Keeper
from agentrunner.keeping.ledger import Ledger
from agentrunner.keeping.mirror import Mirror
from agentrunner.keeping.refusals import CannotKeep
from agentrunner.lines import dump
from agentrunner.serving import metrics
from agentrunner.serving.places import SessionPlaces
from agentrunner.stores.base import StoreError, StoreRefused, StoreUnreachable
from agentsessions.api.host import Activation
from agentsessions.api.status import Usage
from unit.agentrunner.keeping.talks import SESSION, FakeStore, Fault, entries

DEFINED = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


class Shelf:
    """A vault that says what a test tells it to."""

    def __init__(self, saved: Saved | None = None, restored: Restored | None = None) -> None:
        self.saved = saved
        self.restored = restored

    async def save(self, *_: Any) -> Saved:
        """Save."""
        if self.saved is None:
            raise ArchiveUnreachable("no answer")
        return self.saved

    async def restore(self, *_: Any) -> Restored | None:
        """Restore."""
        return self.restored


def value(name: str, **labels: str) -> float:
    """Return the present value of a sample."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def mirror_of(folder: Path, store: FakeStore, lines: int = 0) -> Mirror:
    """Return the copying of a session whose transcript has so many lines."""
    files = TranscriptFiles(folder, Path("/workspace/one"), SESSION)
    files.main.parent.mkdir(parents=True)
    files.main.write_bytes(dump(entries(lines)))
    return Mirror(store, files, lambda: None)


def keeper_of(folder: Path, shelf: Shelf) -> Keeper:
    """Return the keeping of a session that has an archive and no store."""
    places = SessionPlaces(*(folder / name for name in ("own", "claude", "workspace", "tmp", "home")))
    places.make()
    return Keeper(SESSION, places, Keeping(vault=shelf), lambda: None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_BACKOFF", 60)
    monkeypatch.setattr(module, "_FILE_SECONDS", 0.05)


@pytest.mark.parametrize("metric", DEFINED, ids=[metric._name for metric in DEFINED])
def test_names_help_and_labels(metric: MetricWrapperBase) -> None:
    assert metric._name.startswith("agentsessions_host_")
    assert metric._documentation.endswith(".")
    assert set(metric._labelnames) <= {"reason", "phase", "kind", "direction"}
    assert not isinstance(metric, Histogram) or metric._name.endswith("_seconds")


async def test_entries_are_counted_when_the_store_has_them(tmp_path: Path) -> None:
    copied, settled = "agentsessions_host_entries_copied_total", "agentsessions_host_settle_duration_seconds_count"
    before = value(copied), value(settled)
    mirror = mirror_of(tmp_path, FakeStore(), lines=3)
    await mirror.begin()
    assert value("agentsessions_host_entries_waiting") == 3
    assert await mirror.settle(5)
    assert value("agentsessions_host_entries_waiting") == 0
    assert (value(copied) - before[0], value(settled) - before[1]) == (3, 1)
    await mirror.close()


@pytest.mark.parametrize(
    ("error", "kind"), [(StoreUnreachable("no answer"), "unreachable"), (StoreRefused("no"), "refused")]
)
async def test_failures_are_counted_by_kind_and_what_waits_is_told_until_the_session_leaves(
    tmp_path: Path, error: StoreError, kind: str
) -> None:
    name = "agentsessions_host_store_failures_total"
    assert metrics.REGISTRY.get_sample_value(name, {"kind": kind}) is not None, "from the start"
    before = value(name, kind=kind)
    mirror = mirror_of(tmp_path, store := FakeStore(), lines=2)
    await mirror.begin()
    store.will("append", Fault(error))
    assert not await mirror.settle(5)
    assert value(name, kind=kind) == before + 1
    assert value("agentsessions_host_entries_waiting") == 2
    await mirror.close()
    assert value("agentsessions_host_entries_waiting") == 0


async def test_what_could_not_be_begun_waits_for_nothing(tmp_path: Path) -> None:
    mirror = mirror_of(tmp_path, FakeStore(down=StoreUnreachable("no answer")), lines=2)
    with pytest.raises(StoreUnreachable):
        await mirror.begin()
    assert value("agentsessions_host_entries_waiting") == 0


async def test_a_repair_is_counted_with_what_it_wrote(tmp_path: Path) -> None:
    copied, repairs = "agentsessions_host_entries_copied_total", "agentsessions_host_store_repairs_total"
    before = value(copied), value(repairs)
    mirror = mirror_of(tmp_path, store := FakeStore(), lines=4)
    await mirror.begin()
    assert await mirror.settle(5)
    store.data.clear()
    assert await mirror.settle(5)
    assert (value(copied) - before[0], value(repairs) - before[1]) == (8, 1)
    await mirror.close()


@pytest.mark.parametrize(("unchanged", "counted"), [(False, 1), (True, 0)])
async def test_an_archive_is_counted_when_it_was_saved(tmp_path: Path, unchanged: bool, counted: int) -> None:
    size, time = "agentsessions_host_archive_bytes_total", "agentsessions_host_archive_duration_seconds_count"
    before = value(size, direction="saved"), value(time, direction="saved")
    await keeper_of(tmp_path, Shelf(Saved(1, "ab", 700, 3, unchanged))).put_away(Ledger(Usage()))
    assert value(size, direction="saved") - before[0] == 700 * counted
    assert value(time, direction="saved") - before[1] == counted


@pytest.mark.parametrize(("present", "counted"), [(False, 1), (True, 0)])
async def test_an_archive_is_counted_when_it_was_restored(tmp_path: Path, present: bool, counted: int) -> None:
    size, time = "agentsessions_host_archive_bytes_total", "agentsessions_host_archive_duration_seconds_count"
    before = value(size, direction="restored"), value(time, direction="restored")
    wanted = Activation(version=1, session_id=SESSION, namespace="team", name="one")  # type: ignore[arg-type]
    await keeper_of(tmp_path, Shelf(restored=Restored(1, "ab", 500, 3, present))).find(wanted)
    assert value(size, direction="restored") - before[0] == 500 * counted
    assert value(time, direction="restored") - before[1] == counted


async def test_an_archive_that_failed_is_not_counted(tmp_path: Path) -> None:
    before = value("agentsessions_host_archive_duration_seconds_count", direction="saved")
    with pytest.raises(CannotKeep):
        await keeper_of(tmp_path, Shelf()).put_away(Ledger(Usage()))
    assert value("agentsessions_host_archive_duration_seconds_count", direction="saved") == before
