"""The Kubernetes API as Pipebell uses it: connection, requests, API dict ↔ model, and the resources by name.

Everything here is asynchronous on aiohttp and raises `pipebell.core.errors.ApiError`s only: what aiohttp, ssl or json
raise is converted in `pipebell.kube.client`, its one edge to the outside.
"""

from pipebell.kube.parse import newer, parse_config, parse_event, parse_incident

__all__ = ["newer", "parse_config", "parse_event", "parse_incident"]
