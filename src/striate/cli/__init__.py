"""The command line: translates words into one library call and shows its answer."""
