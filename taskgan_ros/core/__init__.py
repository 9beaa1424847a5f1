"""What every room shares: configuration, errors, whole-file writes, interrupts, progress."""
