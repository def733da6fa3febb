"""The commands that make the figures of README.md and docs/speed.md: real processes in turn, medians and spread."""
