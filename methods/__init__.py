"""The methods, one file each. A new file that registers a method is on the leaderboard; no other file is edited."""

import lifegen.benchmark  # noqa: F401  (lets old import paths be imported)
