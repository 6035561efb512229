"""The scenarios, one file a family, on the data sources of ``data_sets``."""
