"""Which configuration serves an event: the organisation's own, else a shared one that admits it, else root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pipebell.core.config import ConfigObject


def seniority(config: ConfigObject) -> tuple[float, str, str]:
    """Sort key: of several configurations for the same organisation, the oldest counts, then the first by name."""
    return (config.created, config.namespace, config.name)


def winners(configs: Iterable[ConfigObject]) -> list[ConfigObject]:
    """Of the configurations of one organisation, the one of each namespace that counts; the most senior first."""
    best: dict[str, ConfigObject] = {}
    for config in sorted(configs, key=seniority):
        best.setdefault(config.namespace, config)
    return list(best.values())


def own(configs: Sequence[ConfigObject], namespace: str) -> ConfigObject | None:
    """The organisation's configuration in the event's own namespace."""
    return next((config for config in winners(configs) if config.namespace == namespace), None)


def shared(
    configs: Sequence[ConfigObject],
    namespace: str,
    labels: Mapping[str, str] | None,
    shared_namespaces: Collection[str],
) -> ConfigObject | None:
    """A configuration elsewhere that may and wants to serve events of `namespace`.

    It must stand in a namespace that the platform team listed, and admit the event's namespace itself. `labels` are the
    event's namespace's; None where they are not known, which no selector matches.
    """
    for config in winners(configs):
        if config.namespace != namespace and config.namespace in shared_namespaces and _admits(config, labels):
            return config
    return None


def wants_labels(configs: Iterable[ConfigObject], shared_namespaces: Collection[str]) -> bool:
    """Whether the labels of the event's namespace matter for choosing among these configurations."""
    return any(
        config.namespace in shared_namespaces
        and config.spec is not None
        and config.spec.event_namespaces is not None
        and config.spec.event_namespaces.selector is not None
        for config in configs
    )


def _admits(config: ConfigObject, labels: Mapping[str, str] | None) -> bool:
    rule = config.spec.event_namespaces if config.spec is not None else None
    return rule is not None and rule.admits(labels)
