"""Whoever subscribes hears of what it cares for, in the order of subscription, and of nothing else."""

from types import SimpleNamespace

from pipebell.engine.events.observer import Observer, Observers

CALLS = {
    "on_attempt": (("state", "slack", "outcome", 1.0), {}),
    "on_failover": (("state", "delivery"), {}),
    "on_answer": (("state", "slack", "target", "outcome"), {"shared": True}),
    "on_blocked": (("state", "slack", "slack", "error"), {}),
    "on_finished": (("state", "summary", 1.0), {}),
}


def listening(heard, who, *names):
    def hear(name):
        return lambda _self, *given, **more: heard.append((who, name, given, more))

    return type(who, (Observer,), {name: hear(name) for name in names})()


def test_each_hears_what_it_overrides_in_order():
    heard, observers = [], Observers()
    observers.subscribe(listening(heard, "first", *CALLS), listening(heard, "second", "on_finished"))
    observers.subscribe(listening(heard, "third", "on_finished", "on_answer"))
    for name, (given, more) in CALLS.items():
        heard.clear()
        getattr(observers, name)(*given, **more)
        expected = {"on_finished": ["first", "second", "third"], "on_answer": ["first", "third"]}.get(name, ["first"])
        assert heard == [(who, name, given, more) for who in expected]


def test_what_a_base_class_overrides_counts():
    heard, observers = [], Observers()
    base = type(listening(heard, "base", "on_finished"))
    observers.subscribe(type("Derived", (base,), {})())
    observers.on_finished(SimpleNamespace(), SimpleNamespace(), 0.0)
    assert [who for who, *_ in heard] == ["base"]
