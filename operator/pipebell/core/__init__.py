"""The rules of Pipebell, pure: models, resolution, triggers, cooldown, backoff, rendering, status.

Nothing here does I/O, reads a clock or knows Kubernetes' client: the standard library, pydantic and jinja2 are enough.
"""
