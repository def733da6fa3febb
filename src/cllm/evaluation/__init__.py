"""What a model is worth: bits per byte, completions, and what they are compared with."""
