import asyncio
import base64

import pytest

from pipebell.core.errors import Forbidden, NotFound
from pipebell.kube.cache import Cache
from pipebell.kube.namespaces import KubeNamespaces
from pipebell.kube.secrets import KubeSecrets


def secret(**values):
    return {"data": {key: base64.b64encode(value).decode() for key, value in values.items()}}


async def test_a_secret_is_read_and_kept_for_a_minute(api, client, clock):
    secrets = KubeSecrets(client, clock)
    api.answers(secret(PASSWORD="pä".encode(), BINARY=b"\xff\xfe"))
    assert await secrets.read("team", "mail") == {"PASSWORD": "pä", "BINARY": "\udcff\udcfe"}
    clock.time += 59.9
    assert (await secrets.read("team", "mail"))["PASSWORD"] == "pä"
    assert [(asked.method, asked.path) for asked in api.asked] == [("GET", "/api/v1/namespaces/team/secrets/mail")]
    clock.time += 0.2
    api.answers(secret(PASSWORD=b"new"))
    assert await secrets.read("team", "mail") == {"PASSWORD": "new"}


async def test_fresh_reads_again_and_is_kept(api, client, clock):
    secrets = KubeSecrets(client, clock)
    api.answers(secret(A=b"old"))
    api.answers(secret(A=b"new"))
    await secrets.read("team", "mail")
    assert await secrets.read("team", "mail", fresh=True) == {"A": "new"}
    assert await secrets.read("team", "mail") == {"A": "new"}
    assert len(api.asked) == 2


async def test_that_there_is_none_is_kept_for_moments_only(api, client, clock):
    secrets = KubeSecrets(client, clock)
    api.fails(404)
    assert await secrets.read("team", "mail") is None
    clock.time += 4.9
    assert await secrets.read("team", "mail") is None
    assert len(api.asked) == 1
    clock.time += 0.2
    api.answers({"data": None})
    assert await secrets.read("team", "mail") == {}


async def test_a_failure_is_raised_and_not_kept(api, client, clock):
    secrets = KubeSecrets(client, clock)
    api.fails(403, "secrets is forbidden")
    with pytest.raises(Forbidden):
        await secrets.read("team", "mail")
    api.answers(secret(A=b"1"))
    assert await secrets.read("team", "mail") == {"A": "1"}


async def test_one_namespaces_large_secrets_take_bounded_memory_and_no_room_of_anothers(api, client, clock):
    secrets = KubeSecrets(client, clock)
    large = secret(**{f"K{number}": b"v" * 16_000 for number in range(60)})
    api.answers(secret(PASSWORD=b"theirs"))
    await secrets.read("team", "mail")
    for number in range(40):
        api.answers(large)
        await secrets.read("evil", f"s{number}")
    shelf = secrets._cache._shelves["evil"]
    assert shelf.size <= 16 << 20
    assert ("evil", "s39") in shelf.kept
    assert ("evil", "s0") not in shelf.kept
    assert await secrets.read("team", "mail") == {"PASSWORD": "theirs"}
    assert len(api.asked) == 41, "the other namespace's is kept"


async def test_a_value_longer_than_any_field_may_be_is_kept_as_too_long_and_no_longer(api, client, clock):
    api.answers(secret(HUGE=b"v" * 1_000_000))
    assert 2_048 < len((await KubeSecrets(client, clock).read("team", "mail"))["HUGE"]) < 20_000


async def test_when_there_is_too_much_in_all_whoever_has_most_loses_its_oldest(clock):
    async def read(key):
        return "v" * 10

    cache = Cache(read, clock, size=len, owner=lambda key: key[0], most=100, most_of_owner=60)
    for number in range(10):
        await cache.get(("a", number))
    assert cache._shelves["a"].size == 60
    for number in range(3):
        await cache.get(("b", number))
    for number in range(3):
        await cache.get(("c", number))
    assert {owner: shelf.size for owner, shelf in cache._shelves.items()} == {"a": 40, "b": 30, "c": 30}
    assert list(cache._shelves["a"].kept)[-1] == ("a", 9)
    clock.time += 61
    await cache.get(("d", 0))
    cache._sweep()
    assert list(cache._shelves) == ["d"], "what is too old goes"


async def test_what_is_too_old_goes_even_if_nobody_asks_for_anything_more(clock):
    async def read(key):
        return "secret"

    loop = asyncio.get_running_loop()
    cache = Cache(read, clock, ttl=0.05)
    began = loop.time()
    await cache.get("a")
    clock.time += 1
    while cache._shelves:
        assert loop.time() - began < 20
        await asyncio.sleep(0.01)
    assert cache._sweeping is None


async def test_a_clock_that_is_set_back_keeps_nothing_for_longer(clock):
    read_at = []

    async def read(key):
        read_at.append(clock.time)
        return "v"

    cache = Cache(read, clock)
    clock.time = 3600.0
    await cache.get("s")
    clock.time = 3000.0
    await cache.get("s")
    assert read_at == [3600.0, 3000.0]


async def test_labels_of_a_namespace_are_kept_for_a_minute(api, client, clock):
    namespaces = KubeNamespaces(client, clock)
    api.answers({"metadata": {"labels": {"team": "a"}}})
    assert await namespaces.labels("one") == {"team": "a"}
    assert await namespaces.labels("one") == {"team": "a"}
    clock.time += 61
    api.answers({"metadata": {}})
    assert await namespaces.labels("one") == {}
    assert [asked.path for asked in api.asked] == ["/api/v1/namespaces/one"] * 2
    with pytest.raises(NotFound):
        await namespaces.labels("gone")


class Source:
    """Readings that end when the test says so."""

    def __init__(self):
        self.readings = []

    async def read(self, key):
        reading = asyncio.get_running_loop().create_future()
        self.readings.append((key, reading))
        return await reading


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_at_the_same_time_share_one_reading(clock):
    source = Source()
    cache = Cache(source.read, clock)
    callers = [asyncio.create_task(cache.get("k")) for _ in range(10)]
    other = asyncio.create_task(cache.get("other"))
    await settle()
    assert [key for key, _ in source.readings] == ["k", "other"]
    callers[0].cancel()
    source.readings[0][1].set_result("v")
    source.readings[1][1].set_result("w")
    results = await asyncio.gather(*callers, other, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["v"] * 9 + ["w"]


async def test_fresh_callers_share_the_reading_after_the_one_under_way(clock):
    source = Source()
    cache = Cache(source.read, clock)
    early = asyncio.create_task(cache.get("k"))
    await settle()
    fresh = [asyncio.create_task(cache.get("k", fresh=True)) for _ in range(5)]
    await settle()
    assert len(source.readings) == 1
    source.readings[0][1].set_result("old")
    await settle()
    assert len(source.readings) == 2
    source.readings[1][1].set_result("new")
    assert await early == "old"
    assert await asyncio.gather(*fresh) == ["new"] * 5


async def test_a_failure_reaches_all_who_wait_and_nobody_else(clock):
    source = Source()
    cache = Cache(source.read, clock)
    callers = [asyncio.create_task(cache.get("k")) for _ in range(2)]
    await settle()
    source.readings[0][1].set_exception(NotFound("x"))
    assert [type(e) for e in await asyncio.gather(*callers, return_exceptions=True)] == [NotFound, NotFound]
    abandoned = asyncio.create_task(cache.get("k"))
    await settle()
    abandoned.cancel()
    source.readings[1][1].set_exception(NotFound("x"))  # asyncio would complain of an exception never retrieved
    await settle()
