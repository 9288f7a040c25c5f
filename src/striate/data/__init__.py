"""From files to batches: read, split, decode once, prepare, augment, feed."""
