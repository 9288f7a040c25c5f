"""Model files, published weights, and fitting weights to a network."""
