"""What every package shares: configuration, errors, atomic file writes, interrupts, progress."""
