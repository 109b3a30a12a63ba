"""The largest and the most hostile events that there can be, for kinds with limits in bytes."""

from dataclasses import replace

from hypothesis import strategies as st
from tests.core.messages import Raw, make

from pipebell.core.destinations.http import Response, classify_response
from pipebell.core.event import MAX_ERROR_MESSAGE

WIDE = "\U0001f600"  # four bytes in UTF-8, two units of UTF-16, twelve characters when JSON escapes it
HEAD, TAIL = "it began here", "it ended there"
PIECES = [
    *("<", ">", "&", "<!channel>", "<@U1>", "<@&1>", "<#1>", "<users/all>", "<https://e.example|x>", "@here", "@all"),
    *("@everyone", "@somebody", "`", "```", "|", "*b*", "_i_", "~s~", "[a](https://e.example)", "\\", ":smile:", "#1"),
    *("\r\n", "\x00", "\ud800", "\u202e", WIDE, "خطأ", "&lt;!", "{", "}", "€", "https://e.example/x", "/stop"),
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=60).map("".join)


def huge(sign=WIDE, **changes):
    """An event as large as the API server takes it, every text of `sign`s."""
    text = HEAD + sign * (MAX_ERROR_MESSAGE - len(HEAD) - len(TAIL)) + TAIL
    given = {
        "pipeline_id": sign * 512,
        "pipeline_logging_id": sign * 512,
        "error_message": text,
        "details": {"first": sign * 1500, "last": TAIL},
        "owner": sign * 256,
        "labels": {f"k{number}": sign * 256 for number in range(32)},
        "links": [{"title": sign * 200, "url": f"https://e.example/{number}"} for number in range(10)],
        "attempt": 2,
        "max_attempts": 3,
        "suppressed": 1000,
        "test": True,
        "replay_of": {"name": "x" * 253},
    }
    return make(**(given | changes))


def sized(length, sign=WIDE):
    """A typical event whose error has so many signs."""
    return make(error_message=Raw(sign * length), details=None)


def loud(pipeline, run, message, detail, title):
    """An event with such texts, as if nobody had validated them."""
    links = make(links=[{"title": "x", "url": "https://e.example/a)b(c>d|e"}]).event.spec.links
    links = [link.model_copy(update={"title": title or "x"}) for link in links]
    found = make(
        pipeline_id=Raw(pipeline), pipeline_logging_id=Raw(run), error_message=Raw(message), details={detail: [detail]}
    )
    spec = found.event.spec.model_copy(update={"links": links})
    return replace(found, event=replace(found.event, spec=spec))


def answer(kind, status, body="", headers=None, target=None):
    """What this kind makes of an answer."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    return classify_response(kind, Response(status, given, body.encode()), target, 0.0)
