"""Training: the loop, one guarded update, optimiser, checkpoints, several processes."""
