"""Results for other tools: a store's cells as runs of TensorBoard and Weights & Biases, and as CSV."""
