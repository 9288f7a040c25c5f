"""Detection: every object of an image, its class and the box about it."""
