"""What is wrong with the images of a source: near duplicates, flaws of single images, and shortcuts to the classes."""
