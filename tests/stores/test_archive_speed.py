"""How long archives take. Prints; the machine decides, so no limit is checked."""

import itertools
import os
import time
from pathlib import Path

import pytest

from stores.archives import MIB, Pods
from stores.servers import s3


@pytest.fixture
def pods(s3_server: s3.S3Server, tmp_path: Path, namespace: str) -> Pods:
    """Pods of this test's own."""
    return Pods(s3_server, tmp_path, namespace)


async def test_how_fast_it_is(pods: Pods, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what 200 MB take, half of them text; the machine decides, so no limit is checked."""
    before, after = pods("before"), pods("after")
    line = b"for number in range(10): print(number, 'a line of a program', number * 17)\n"
    for number in range(1000):
        folder = before.workspace / f"package-{number // 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"noise-{number}").write_bytes(os.urandom(100_000))
        (folder / f"text-{number}.py").write_bytes((line * 1400)[:100_000])
    moments = [time.perf_counter()]
    saved = await before.save()
    moments.append(time.perf_counter())
    assert (await before.save()).unchanged
    moments.append(time.perf_counter())
    await after.restore()
    moments.append(time.perf_counter())
    took = [later - earlier for earlier, later in itertools.pairwise(moments)]
    with capsys.disabled():
        print(f"\n200 MB in 2000 files, {saved.bytes / MIB:.0f} MiB packed: save {took[0]:.2f} s, ", end="")
        print(f"unchanged {took[1]:.3f} s, restore {took[2]:.2f} s")
