"""What a throttling server answers, by a clock that the test moves."""

from pipebell.sinks.smtp_limits import GREYLISTED, Limits, Rate, Throttle


def test_a_window_slides():
    now = [0.0]
    throttle = Throttle(Limits(rate=Rate(2, 10.0, "450 slower", at="mail")), lambda: now[0])
    answers = []
    for now[0] in (0.0, 4.0, 9.9, 10.0, 13.9, 14.0):
        answers.append(throttle.too_fast("mail"))
    assert answers == [None, None, "450 slower", None, "450 slower", None]
    assert throttle.too_fast("data") is None


def test_those_refused_may_count_as_well():
    now = [0.0]
    throttle = Throttle(Limits(rate=Rate(1, 10.0, at="mail", counts_refused=True)), lambda: now[0])
    answers = []
    for now[0] in (0.0, 6.0, 12.0, 22.0):
        answers.append(throttle.too_fast("mail") is None)
    assert answers == [True, False, False, True]


def test_the_oldest_connections_stay():
    throttle = Throttle(Limits(connections=3, connections_at="login"))
    assert [throttle.crowded("login", before) is None for before in range(5)] == [True, True, True, False, False]
    assert throttle.crowded("mail", 9) is None


def test_a_greylisted_recipient_is_taken_after_its_time():
    now = [100.0]
    throttle = Throttle(Limits(greylist=300.0), lambda: now[0])
    answers = []
    for now[0] in (100.0, 399.9, 400.0):
        answers.append(throttle.greylisted("A@example.com"))
    assert answers == [GREYLISTED, GREYLISTED, None]
    assert throttle.greylisted("b@example.com") == GREYLISTED
