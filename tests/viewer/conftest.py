"""Makes the synthetic run and the browser importable from here, whatever import mode pytest uses."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "store")]
