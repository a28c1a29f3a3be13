"""A clock that is set while a program runs."""

import os
import subprocess
import sys
from pathlib import Path

from faults.clocks import STEP_SECONDS, environment, library, stepped

PROGRAM = """
import sys, time
wall, steady = time.time(), time.monotonic()
open(sys.argv[1], "w").write(sys.argv[2])
time.sleep(2.5)
print(time.time() - wall, time.monotonic() - steady)
"""


def test_the_wall_clock_is_set_and_what_measures_time_is_not(tmp_path: Path) -> None:
    file = str(tmp_path / "clock")
    words = [sys.executable, "-c", PROGRAM, file, stepped("")]
    told = subprocess.run(
        words, env=os.environ | environment(str(library()), file), capture_output=True, text=True, check=True
    )
    wall, steady = map(float, told.stdout.split())
    assert STEP_SECONDS < wall < STEP_SECONDS + 30
    assert 2 < steady < 30


def test_a_clock_that_was_set_forward_is_set_back() -> None:
    assert stepped(stepped("")) == "+0s"
    assert stepped(stepped(stepped(""))) == stepped("")
