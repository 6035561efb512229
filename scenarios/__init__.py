"""The scenarios, one file a family. They load the data sources of ``data_sets``."""

import lifegen.benchmark  # noqa: F401  (lets old import paths be imported)
