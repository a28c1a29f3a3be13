"""The directory operator/ is a source root and must never hide Python's own `operator` module."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_python_at_the_root_of_the_repository_still_has_its_own_operator_module() -> None:
    code = "import collections, operator; print(operator.add(1, 2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "3", "")


def test_the_source_root_is_no_package() -> None:
    assert (ROOT / "operator" / "agentsessions" / "__init__.py").exists()
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_operator_runs_without_the_agents_sdk() -> None:
    code = (
        "import sys, pkgutil, importlib, agentsessions\n"
        "for m in pkgutil.walk_packages(agentsessions.__path__, 'agentsessions.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('claude_agent_sdk', 'agentrunner')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
