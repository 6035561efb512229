"""Names with options, cells and suites: what a user asks for, and the identity of each cell."""
