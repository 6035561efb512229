"""The drawing of figures, one family of kinds a file; ``figure_kinds`` lists the kinds.

Nothing here imports torch; nor pyplot, which would choose a backend for windows or for a notebook.
"""

import os
import sys
from contextlib import suppress

# A notebook's kernel sets MPLBACKEND for every command that is called from its cells. Where the backend that it names
# isn't installed, matplotlib can't even be imported. Figures need none, so it is set afterwards, if it can be.
_backend = os.environ.pop("MPLBACKEND", None) if "matplotlib" not in sys.modules else None

import matplotlib  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
