"""Scripts that compare two commits of this repository: their layout, and their numbers."""
