"""What the platform permits organisations on its endpoints: root's `restrict`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import NotReady
from pipebell.core.fields import EMAIL, traits
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.destinations.block import Block, Section
    from pipebell.core.models import Restrict

# What organisations set on root's endpoints unless root's `restrict.orgMaySet` says otherwise: the seed's fields.
ORG_MAY_SET: Final = frozenset(
    {
        *("enabled", "from_email", "from_name", "to_emails", "cc_emails", "subject_prefix"),
        *("channel", "username", "icon_emoji", "mention_users", "mention_channel", "mention_min_severity"),
    }
)


def check_permitted(name: str, block: Block, restrict: Restrict | None) -> None:
    """Raises NotReady(NotPermitted) when an organisation changes what root keeps for itself on its destination."""
    org = block.org
    if org is None or not block.trusted:
        return
    named = restrict.org_may_set if restrict else None
    allowed = ORG_MAY_SET if named is None else _may_set(named)
    for trait in traits(type(org.spec)).values():
        if org.sets(trait) and not trait.beside and trait.name not in allowed:
            raise NotReady(
                NotReadyReason.NOT_PERMITTED,
                f"{org.path}.{trait.camel} may not be set on the platform's {name}: remove it, "
                "or use an endpoint of your own",
            )
    if restrict and restrict.recipient_domains is not None:
        _check_recipients(org, restrict.recipient_domains)


def _check_recipients(org: Section, domains: Sequence[str]) -> None:
    """Raises NotReady for the first recipient of an organisation to whom root's transport does not send."""
    allowed = tuple(domain.lower() for domain in domains)
    for trait in traits(type(org.spec)).values():
        if trait.fillable is None or trait.fillable.pattern != EMAIL or not (trait.follows and org.sets(trait)):
            continue  # chats and telephones have no domain
        for index, address in enumerate(org.texts(trait)):
            if address.rpartition("@")[2].lower() not in allowed:
                raise NotReady(
                    NotReadyReason.NOT_PERMITTED,
                    f"{org.path}.{trait.camel}[{index}]: the platform's transport sends to {', '.join(domains)} only",
                )


@lru_cache(maxsize=16)
def _snake_set(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset("".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name) for name in names)


def _may_set(names: Sequence[str]) -> frozenset[str]:
    """The fields in the models' spelling."""
    return _snake_set(tuple(names))
