"""The model and its optimizer. Knows nothing of files, ranks or texts."""
