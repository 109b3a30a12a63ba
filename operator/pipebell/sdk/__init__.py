"""What pipelines import: light, never in the way."""
