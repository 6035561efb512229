"""Numbers as text, pictures and pages."""
