"""The catalogue: one file a family, written from the papers."""
