"""The drawing of figures, one family of kinds a file; ``figure_kinds`` lists the kinds.

Nothing here imports pyplot, which would choose a backend for windows or for a notebook.
"""

import os
import sys
from contextlib import suppress

# A notebook's kernel sets MPLBACKEND for every command that its cells call. If that backend isn't installed, matplotlib
# can't even be imported. Figures need no backend, so it is set after the import, if possible.
_backend = os.environ.pop("MPLBACKEND", None) if "matplotlib" not in sys.modules else None

import matplotlib  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
