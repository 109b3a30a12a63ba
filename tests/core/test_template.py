"""Values in their places: whatever an event says, it means nothing in the text that it gets into."""

import json

import pytest

from pipebell.core.template import HTML, LINE, MOST, TEXT, Language, Printed, Template, TemplateError, assemble

JSON = Language(json=True)
STARS = Language(
    lambda text: text.replace("*", "\\*"), lambda text: f"```{text}```", lambda text: text.replace("@", "")
)
HARD = 'a"b\\c\n</pre>\u2028'


def made(language, text, *values, accepts=lambda _: ""):
    printed = [value if isinstance(value, Printed) else Printed(value) for value in values]
    return assemble(text, printed, Template(language, "", accepts))


def test_values_are_escaped_and_the_template_itself_is_not():
    assert made(HTML, "<b>\0" + "0\0</b>", "<i>&'\"") == "<b>&lt;i&gt;&amp;&#x27;&quot;</b>"
    assert made(TEXT, "<b>\0" + "0\0</b>", "<i>") == "<b><i></b>"
    assert made(STARS, "*\0" + "0\0* \0" + "1\0", "*", Printed("*x*", "code")) == "*\\** ```*x*```"


def test_nobody_is_mentioned_by_the_template_either():
    assert made(STARS, "@all \0" + "0\0", "@here") == "all here"


@pytest.mark.parametrize("value", [HARD, "", "{{ x }}", "\\", '"', "日本 🚀"])
def test_json_is_escaped_for_its_place(value):
    text = '{"in": "<\0' + '0\0>", "out": \0' + '1\0, "j": \0' + '2\0, "k": "\0' + '3\0"}'
    found = made(JSON, text, value, value, Printed(value, "json"), Printed(value, "json"))
    cleaned = value.replace("\u2028", "\n")  # line ends are one
    assert found == {"in": f"<{cleaned}>", "out": cleaned, "j": cleaned, "k": cleaned}


def test_json_takes_numbers_objects_and_nothing():
    text = "[\0" + "0\0, \0" + "1\0, \0" + "2\0, \0" + '3\0, "\0' + '4\0", "\0' + '5\0", \0' + "6\0]"
    found = made(JSON, text, 1, None, {"a": [True, 1.5]}, Printed([1], "json"), {"a": 1}, True, float("inf"))
    assert found == [1, None, {"a": [True, 1.5]}, [1], '{"a": 1}', "true", None]


def test_quotes_of_the_template_tell_where_a_value_stands():
    assert made(JSON, '{"\\"\0' + '0\0": "\\\\", "b": \0' + "1\0}", 'x"', 'y"') == {'"x"': "\\", "b": 'y"'}


def test_an_address_has_no_sign_that_means_anything():
    hostile = Printed('https://e.example/?a="><script>|x)`\\{}', "url")
    encoded = "https://e.example/?a=%22%3E%3Cscript%3E%7Cx%29%60%5C%7B%7D"
    assert made(TEXT, "\0" + "0\0", hostile) == encoded
    assert made(JSON, "[\0" + '0\0, "\0' + '0\0"]', hostile) == [encoded, encoded]
    assert (
        made(HTML, "<\0" + "0\0>", Printed("https://e.example/?a=1&b=2", "url")) == "<https://e.example/?a=1&amp;b=2>"
    )
    with pytest.raises(TemplateError, match="empty"):
        made(TEXT, "\0" + "0\0", Printed("javascript:alert(1)", "url"))


@pytest.mark.parametrize(
    "page",
    [
        "<a href='javascript:alert(1)'>",
        '<a href = "  JavaScript :x">',
        "<img src=vbscript:x>",
        "<a href=data:text/html,x>",
    ],
)
def test_a_page_runs_no_scripts_of_its_links(page):
    assert "#" in made(HTML, page)


def test_one_line_is_one_line():
    assert made(LINE, "a\nb \0" + "0\0", "x\r\nBcc: y@example.com") == "a b x Bcc: y@example.com"


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        ("", [], "empty"),
        (" \n \0" + "0\0", [" "], "empty"),
        ("\0" + "0\0" * 20, ["x" * 20_000], "more than"),
        ("\0" + "0\0", ["x" * (MOST + 1)], "more than"),
    ],
)
def test_what_is_no_text_is_refused(text, values, said):
    with pytest.raises(TemplateError, match=said):
        made(TEXT, text, *values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "invalid JSON: .* in line 1, column"),
        ('{"a":\n 1,}', "line 2"),
        ("", "invalid JSON"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("[" * 100_000, "JSON"),
        ("1" * 5000, "JSON that cannot be read"),
    ],
)
def test_what_is_no_json_is_refused(text, said):
    with pytest.raises(TemplateError, match=said):
        made(JSON, text)


def test_what_a_receiver_does_not_take_is_refused():
    with pytest.raises(TemplateError, match="no list"):
        made(JSON, "{}", accepts=lambda document: "" if isinstance(document, list) else "makes no list")


def test_marks_that_a_filter_has_changed_are_nothing():
    assert made(TEXT, "a\0" + "7\0b\0x", "y") == "abx"
    assert json.dumps(made(JSON, '["\0' + '9\0"]')) == '[""]'
