"""What part of the image each unit of a network depends on."""
