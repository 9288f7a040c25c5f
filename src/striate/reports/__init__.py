"""Reports: self-contained pages about runs and networks."""
