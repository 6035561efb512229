"""What authors of methods, scenarios and metrics are given: files to start with, and checks."""
