"""Training: counter-based batches, EMA, checkpoints from which it resumes exactly."""
