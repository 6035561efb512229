"""What figures are made of, one family of kinds a file; ``benchmark/plots.py`` lists the kinds. No torch."""
