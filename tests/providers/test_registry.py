import inspect
import ssl

import pytest

from pipebell.core import ports
from pipebell.core.models import KINDS
from pipebell.providers.registry import build_providers
from pipebell.settings import Settings


class Clock:
    def now(self):
        return 0.0


async def test_every_name_has_a_provider_and_all_can_be_closed_unused(trust):
    providers = build_providers(Settings(ca_file=str(trust.ca_file)), Clock())
    assert set(providers) == set(KINDS)
    for provider in providers.values():
        await provider.close()


@pytest.mark.parametrize("method", ["send", "check", "close"])
async def test_providers_are_what_the_engine_asks_for(method):
    providers = build_providers(Settings(), Clock())
    wanted = list(inspect.signature(getattr(ports.Provider, method)).parameters)[1:]
    for provider in providers.values():
        assert list(inspect.signature(getattr(provider, method)).parameters) == wanted
        await provider.close()


def test_a_ca_file_that_is_none(tmp_path):
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        build_providers(Settings(ca_file=str(broken)), Clock())
