"""CLLM: a language model of your own code, trained on your own machine."""

__version__ = "0.1.0"

__all__ = ["__version__"]
