"""From a cell to a finished folder."""
