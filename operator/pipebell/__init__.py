"""Pipebell tells people when their data pipelines fail."""

__version__ = "0.1.0"
