"""Tools for authors of methods, scenarios and metrics: files to start with, and checks."""
