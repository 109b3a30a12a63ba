"""A credential that the API server does not accept any more is told, a rotation is not."""

import pytest

from pipebell.kube.vitals import REFUSED, RETURNING, Vitals


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def vitals(now):
    return Vitals(lambda: now[0], lambda: now[0])


def answered(vitals, status):
    vitals.answered(status, None, vitals.begin())


def test_a_credential_that_is_refused_for_long_is_trouble(vitals, now):
    answered(vitals, 200)
    answered(vitals, 401)
    assert vitals.trouble is None, "a token that is being rotated"
    now[0] += REFUSED + 1
    answered(vitals, 401)
    assert "credential" in vitals.trouble
    assert "(401)" in vitals.trouble


@pytest.mark.parametrize("status", [200, 201, 403, 404, 409, 410, 422])
def test_any_answer_to_us_shows_that_we_are_known(vitals, now, status):
    answered(vitals, 401)
    answered(vitals, status)
    now[0] += REFUSED + 1
    assert vitals.trouble is None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_shows_nothing(vitals, now, status):
    answered(vitals, 401)
    now[0] += REFUSED + 1
    answered(vitals, status)
    assert "credential" in vitals.trouble


def test_after_a_broken_connection_the_server_may_have_just_started(vitals, now):
    assert not vitals.returning
    vitals.broken()
    now[0] += RETURNING - 1
    assert vitals.returning
    answered(vitals, 200)
    assert vitals.returning, "it knows some roles, and perhaps not all of them"
    now[0] += 1
    assert not vitals.returning


async def test_a_client_tells_of_each_answer(api, client):
    from pipebell.core.errors import ApiError  # noqa: PLC0415

    api.fails(401, Date="Wed, 25 Nov 2026 18:00:00 GMT")
    with pytest.raises(ApiError):
        await client.request("GET", "/api")
    assert client._vitals._refused_since is not None
    assert not client._vitals.clock.trusted
    api.watches(cut=False)
    async for _ in client.watch("/api"):
        pass
    assert client._vitals._refused_since is None
