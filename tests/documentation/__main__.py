"""`python -m documentation FILE`: write the trace of requirements."""

import sys
from pathlib import Path

from documentation.trace import page

Path(sys.argv[1]).write_text(page())
