"""From a store to numbers and conclusions."""
