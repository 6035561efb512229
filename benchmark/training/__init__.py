"""The loop: an Avalanche strategy that trains a generative model on one interval after another."""
