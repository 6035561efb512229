"""The index of everything that is registered, made without importing it here."""
