"""The plan of what runs side by side: nothing is left out, nothing runs twice, and the longest begins."""

from __future__ import annotations

from collections import Counter

from tests.parts.plan import SECONDS, files, measured, plan, took


def test_every_file_is_in_exactly_one_part():
    counted = Counter(name for part in plan(files(), measured()) for name in part.files)
    assert counted == Counter(files())
    assert len(files()) > 200


def test_the_longest_part_begins():
    lengths = [part.seconds for part in plan(files(), measured())]
    assert lengths == sorted(lengths, reverse=True)


def test_a_long_folder_is_several_parts_and_short_ones_are_one():
    seconds = {"tests/e2e/test_a.py": 200.0, "tests/e2e/test_b.py": 100.0, "tests/e2e/test_c.py": 90.0}
    names = [*seconds, "tests/image/test_i.py", "tests/sinks/test_s.py", "tests/test_p.py"]
    parts = plan(names, seconds | {"tests/test_p.py": 30.0})
    assert {part.name: part.files for part in parts} == {
        "e2e-1": ("tests/e2e/test_a.py",),
        "e2e-2": ("tests/e2e/test_b.py",),
        "e2e-3": ("tests/e2e/test_c.py",),
        "process": ("tests/test_p.py",),
        "others": ("tests/image/test_i.py", "tests/sinks/test_s.py"),
    }


def test_files_that_are_gone_or_new_need_no_new_measurement():
    (part,) = plan(["tests/new/test_n.py"], {"tests/old/test_o.py": 500.0})
    assert (part.files, part.seconds > 0) == (("tests/new/test_n.py",), True)


def test_what_a_report_says_counts_for_the_file(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.parts.test_plan" time="1.5"/>'
        '<testcase classname="tests.parts.test_plan.TestClass" time="0.25"/>'
        '<testcase classname="" time="9"/></testsuite></testsuites>'
    )
    assert took([report]) == {"tests/parts/test_plan.py": 1.8}
    assert SECONDS.exists()
