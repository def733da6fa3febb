"""From directories to training data: scan, redact, deduplicate, split."""
