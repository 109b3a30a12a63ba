"""Which installation this is: from the setting, the namespace's uid, or its name."""

import pytest

from pipebell.kube.installation import Installation

NAMESPACE = {"metadata": {"name": "ops", "uid": "4f1c-uid"}}


@pytest.fixture
def slept():
    return []


@pytest.fixture
def installation(client, slept):
    async def sleep(seconds):
        slept.append(seconds)

    return lambda given="": Installation(client, "ops", given, sleep)


async def test_it_is_the_namespaces_uid(api, installation):
    api.answers(NAMESPACE)
    made = installation()
    await made.learn()
    assert made() == "4f1c-uid"
    assert [asked.path for asked in api.asked] == ["/api/v1/namespaces/ops"]


async def test_what_was_given_is_not_asked_for(api, installation):
    made = installation("prod-eu")
    await made.learn()
    assert made() == "prod-eu"
    assert api.asked == []


async def test_an_api_that_is_away_is_waited_for(api, installation, slept):
    for _ in range(7):
        api.fails(503)
    api.answers(NAMESPACE)
    made = installation()
    await made.learn()
    assert made() == "4f1c-uid"
    assert len(slept) == 7


async def test_rights_may_come_a_moment_later(api, installation):
    api.fails(403)
    api.fails(403)
    api.answers(NAMESPACE)
    made = installation()
    await made.learn()
    assert made() == "4f1c-uid"


@pytest.mark.parametrize("codes", [[403] * 5, [404]])
async def test_without_the_right_it_is_the_namespaces_name(api, installation, codes):
    for code in codes:
        api.fails(code)
    made = installation()
    await made.learn()
    assert made() == "ops"
    assert len(api.asked) == len(codes)
