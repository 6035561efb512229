"""What is registered, known without importing it."""
