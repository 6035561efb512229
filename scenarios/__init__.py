"""The scenarios, one file a family. They load the data sources of ``data_sets``."""
