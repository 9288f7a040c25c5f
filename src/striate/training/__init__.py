"""The step, the loop, optimisers, schedules, sanity checks, checkpoints."""
