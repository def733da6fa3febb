"""What a run achieved: figures from its store, judged, drawn and written down (`MY_TRAINING_RESULTS.md`)."""
