"""What this machine has, and what a training may use of it."""
