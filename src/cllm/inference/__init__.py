"""Completing text with a trained model."""
