"""Tasks, each a folder with one interface, and the model that predicts."""
