"""What computes a trained classifier's answers: the engines installed, measured against the slow way and chosen."""
