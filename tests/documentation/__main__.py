"""`python -m documentation DIRECTORY`: write the trace of requirements, and the tables of conditions."""

import sys
from pathlib import Path

from documentation import conditions, trace

directory = Path(sys.argv[1])
(directory / "requirements.md").write_text(trace.page())
troubleshooting = directory / "troubleshooting.md"
troubleshooting.write_text(conditions.page(troubleshooting.read_text()))
