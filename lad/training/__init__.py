"""Training: steps, epochs, optimizer, checkpoints and interrupts."""
