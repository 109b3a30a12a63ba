"""Memory that tenants share: bounded, in order, and nobody's at another's cost."""

from pipebell.core.remembered import Remembered


def test_the_oldest_goes_first_and_what_is_put_again_is_the_newest():
    memory = Remembered[str, int](2)
    assert memory.put("a", "one", 1) is memory.put("a", "two", 2) is None
    assert memory.put("a", "one", 3) is None
    assert memory.put("a", "three", 4) == ("a", "two")
    assert (list(memory), len(memory)) == ([("a", "one"), ("a", "three")], 2)
    assert (memory.get("a", "one"), memory.get("a", "two"), memory.get("b", "one")) == (3, None, None)


def test_a_namespace_with_many_pushes_out_its_own():
    memory = Remembered[int, str](100)
    for number in range(10):
        memory.put("small", number, "x")
    for number in range(1_000):
        memory.put("large", number, "y")
    assert len(memory) == 100
    assert all(memory.get("small", number) == "x" for number in range(10))
    assert (memory.get("large", 909), memory.get("large", 910)) == (None, "y")
    for number in range(10, 20):
        assert memory.put("small", number, "x")[0] == "large"


def test_what_was_forgotten_by_hand_leaves_room():
    memory = Remembered[int, str](1)
    memory.put("a", 1, "x")
    assert memory.pop("a", 1) == "x"
    assert memory.pop("a", 1) is memory.pop("b", 1) is None
    assert memory.put("b", 2, "y") is None
    assert len(memory) == 1
