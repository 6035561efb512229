"""Fuzzing of what reads files from outside: ``python -m tests.fuzz.fuzz_suite --seconds 600`` in the project's folder,
and likewise ``fuzz_records`` and ``fuzz_state``. What they find is kept in ``found`` and read again by test_borders.
"""
