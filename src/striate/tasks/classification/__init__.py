"""One class of K for a whole image."""
