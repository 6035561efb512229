"""What is asked for, and its identity: names with options, cells, suites."""
