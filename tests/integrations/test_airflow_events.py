"""What Airflow's versions hand to callbacks and listeners, as events: by objects of the shapes that were recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipebell.integrations.airflow import events, facts
from pipebell.integrations.airflow.callbacks import event_of

START = datetime(2026, 11, 25, 6, 0, 0, 123456, tzinfo=UTC)
SILENT = "failed without an error of its own: it was killed, its heartbeat was lost, or somebody set it to failed"
DAG = SimpleNamespace(dag_id="daily", dagrun_timeout=timedelta(minutes=10), params={}, tags=set())


def a_run(**more):
    given = {
        "dag_id": "daily",
        "run_id": "r1",
        "start_date": START,
        "end_date": None,
        "logical_date": START,
        "dag": DAG,
    }
    return SimpleNamespace(**given | more)


def a_ti(task="load", **more):
    given = {"dag_id": "daily", "run_id": "r1", "task_id": task, "map_index": -1, "try_number": 2, "state": None}
    return SimpleNamespace(**given | {"log_url": f"https://airflow/{task}", "end_date": START} | more)


def a_context(ti=None, **more):
    ti = ti or a_ti()
    return {"dag": DAG, "run_id": "r1", "dag_run": a_run(), "task_instance": ti, "ti": ti, "params": {}} | more


def test_a_task_that_raised():
    event = event_of(a_context(exception=ValueError("no rows")), "acme_corp")
    assert (event.event, event.org, event.pipeline, event.run) == ("pipeline_failure", "acme_corp", "daily", "r1")
    assert event.message == "task load failed: ValueError: no rows"
    assert (event.details["task"], event.details["try_number"], event.details["reason"]) == ("load", 2, "exception")
    assert event.links == {"Log": "https://airflow/load"}


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "{'DAG Id': 'daily', 'Task Id': 'load', 'Run Id': 'r1'}",
        "Executor LocalExecutor(parallelism=4) reported that the task instance finished with state failed",
        "Task did not emit heartbeat within time limit (300 seconds)",
    ],
)
def test_what_airflow_says_of_a_silent_task_is_no_cause(said):
    event = event_of(a_context(exception=said), "a")
    assert (event.message, event.details["reason"]) == (f"task load {SILENT}", "lost")
    assert (event.details["airflow"] or "") == (said or "")


def test_an_exception_may_be_a_text():
    assert event_of(a_context(exception="no rows"), "a").message == "task load failed: no rows"


def test_a_mapped_task_is_told_by_its_index():
    event = event_of(a_context(a_ti(map_index=3), exception="x"), "a")
    assert (event.message, event.details["task"]) == ("task load[3] failed: x", "load[3]")


@pytest.mark.parametrize(
    ("state", "kind"), [("success", "pipeline_success"), ("up_for_retry", None), ("failed", "pipeline_failure")]
)
def test_the_state_says_what_a_task_callback_is_for(state, kind):
    event = event_of(a_context(a_ti(state=SimpleNamespace(value=state))), "a")
    assert (event and event.event) == kind


def test_a_retry_is_told_when_asked_for_by_name():
    event = event_of(a_context(a_ti(state="up_for_retry"), exception="x"), "a", event="data_quality_warning")
    assert event.event == "data_quality_warning"


@pytest.mark.parametrize(
    ("context", "pipeline", "message"),
    [
        ({}, "unknown", "the DAG run failed"),
        ({"dag": DAG, "run_id": "r1", "reason": "task_failure"}, "daily", "the DAG run failed"),
        (
            {"dag": DAG, "run_id": "r1", "reason": "timed_out"}, "daily",
            "the DAG run did not end within its dagrun_timeout of 0:10:00 (timed_out)",
        ),
        (
            a_context(reason="timed_out"), "daily",
            "the DAG run did not end within its dagrun_timeout of 0:10:00 (timed_out); it was at task load",
        ),
        (
            a_context(reason="all_tasks_deadlocked"), "daily",
            "no task of the DAG run can run any more (all_tasks_deadlocked)",
        ),
        (a_context(reason="task_failure"), "daily", "task load failed"),
        ({"dag": DAG, "run_id": "r1", "reason": "mystery"}, "daily", "the DAG run failed: mystery"),
    ],
)  # fmt: skip
def test_contexts_of_dag_level_however_empty(context, pipeline, message):
    event = event_of(context, "a")
    assert (event.event, event.pipeline, event.message) == ("pipeline_failure", pipeline, message)


def test_dag_level_success():
    assert event_of(a_context(reason="success"), "a").event == "pipeline_success"


def test_airflow_2_lets_dag_level_ask_for_the_failed_tasks():
    failed = [a_ti("load"), a_ti("check", end_date=START + timedelta(seconds=1))]
    run = a_run(get_task_instances=lambda state: failed)
    event = event_of(a_context(a_ti("ok"), dag_run=run, reason="task_failure"), "a")
    assert (event.message, event.details["failed_tasks"]) == ("2 tasks failed: load, check", ["load", "check"])
    assert event.links == {"Log of load": "https://airflow/load", "Log of check": "https://airflow/check"}


def test_a_database_that_is_away_costs_the_list_and_not_the_event():
    def away(state):
        raise OSError("database is locked")

    event = event_of(a_context(dag_run=a_run(get_task_instances=away), reason="task_failure"), "a")
    assert event.message == "the DAG run failed"


def test_a_task_a_dag_callback_and_the_scheduler_agree_on_a_failed_task():
    run, task = facts.run_of(a_run()), facts.task_of(a_ti())
    told = [
        event_of(a_context(exception="x"), "a"),
        event_of(a_context(reason="task_failure"), "a"),
        events.run_failed("a", run, "task_failure", [task], silent=True),
        events.task_failed("a", run, task),
    ]
    assert len({event.dedup_key for event in told}) == 1


def test_they_agree_on_the_one_that_failed_last():
    early, late = a_ti("b"), a_ti("a", end_date=START + timedelta(seconds=9))
    whole = events.run_failed("a", facts.run_of(a_run()), "task_failure", [facts.task_of(late), facts.task_of(early)])
    assert whole.dedup_key == event_of(a_context(late, exception="x"), "a").dedup_key


@pytest.mark.parametrize(
    "other",
    [
        a_context(a_ti(try_number=3), exception="x"),
        a_context(a_ti("check"), exception="x"),
        a_context(a_ti(map_index=1), exception="x"),
        a_context(dag_run=a_run(start_date=START + timedelta(hours=1)), exception="x"),
        a_context(reason="timed_out"),
    ],
    ids=["another try", "another task", "another map index", "the run was cleared", "the run took too long"],
)
def test_what_is_something_else_has_another_key(other):
    assert event_of(other, "a").dedup_key != event_of(a_context(exception="x"), "a").dedup_key


def test_another_organisation_type_or_message_is_another_event():
    plain = event_of(a_context(exception="x"), "a")
    others = [
        event_of(a_context(exception="x"), "b"),
        event_of(a_context(exception="x"), "a", event="system_error"),
        event_of(a_context(exception="x"), "a", message="call the platform team"),
    ]
    assert len({event.dedup_key for event in (plain, *others)}) == 4
    assert others[2].message == "call the platform team"


@pytest.mark.parametrize(
    "context",
    [{}, {"dag": DAG, "run_id": "r1", "reason": "task_failure"}, {"dag": DAG, "run_id": "r1", "reason": "timed_out"}],
)
def test_runs_that_are_hardly_known_are_never_taken_for_one_another(context):
    """A run that was cleared, or one of another DAG, may look the same: two events are better than none."""
    assert event_of(context, "a").dedup_key is None


def test_a_missed_deadline_as_the_triggerer_tells_it():
    run = {"dag_id": "daily", "dag_run_id": "r1", "start_date": "2026-11-25T06:00:00Z"}
    event = event_of({"dag_run": run, "deadline": {"id": "7", "deadline_time": "2026-11-25T06:30:00Z"}}, "a")
    assert (event.pipeline, event.run, event.details["reason"]) == ("daily", "r1", "missed_deadline")
    assert event.message == "the DAG run missed its deadline of 2026-11-25T06:30:00Z"


@pytest.mark.parametrize(
    ("message", "by_hand"),
    [
        ("TaskInstance's state was manually set to `failed`.", True),
        ("Dag Run's state was manually set to `failed`.", True),
        (ValueError("the price was manually set to 0"), False),
        ("task_failure", False),
        (None, False),
    ],
)
def test_what_a_person_has_set_by_hand(message, by_hand):
    assert events.by_hand(message) is by_hand


def test_severity_changes_nothing_else():
    event = event_of(a_context(exception="x"), "a", severity="critical")
    assert (event.severity, event.dedup_key) == ("critical", event_of(a_context(exception="x"), "a").dedup_key)


@pytest.mark.parametrize(
    ("params", "tags", "conf", "org"),
    [
        ({"org": "acme_corp"}, ["org:globex"], None, "acme_corp"),
        ({"org": SimpleNamespace(value="acme_corp")}, [], None, "acme_corp"),
        ({"org": "acme_corp"}, [], {"org": "globex"}, "globex"),
        ({}, ["nightly", "org:globex"], {"org": "initech"}, "globex"),
        ({}, [SimpleNamespace(name="org:globex")], None, "globex"),
        (None, {"org:b", "org:a"}, None, "a"),
        ({"org": None}, ["org:"], None, None),
        (None, None, None, None),
    ],
)
def test_whose_a_dag_is(params, tags, conf, org):
    assert facts.org_of(params, tags, conf) == org


@pytest.mark.parametrize(
    ("run", "late"),
    [
        (a_run(end_date=START + timedelta(minutes=10)), True),
        (a_run(end_date=START + timedelta(minutes=9)), False),
        (a_run(dag=None), False),
        (a_run(start_date=None), False),
    ],
)
def test_whether_a_run_took_too_long(run, late):
    assert facts.late(run) is late


def test_many_failed_tasks_are_counted_and_some_named():
    tasks = [facts.task_of(a_ti(f"t{number}")) for number in range(100)]
    event = events.run_failed("a", facts.run_of(a_run()), "task_failure", tasks)
    assert event.message.startswith("100 tasks failed: t0, t1,")
    assert event.message.endswith("t19 and 80 more")
    assert (len(event.details["failed_tasks"]), event.details["failed"], len(event.links)) == (20, 100, 10)


def test_attributes_that_ask_a_database_which_is_not_there():
    class Detached:
        dag_id, run_id = "daily", "r1"

        @property
        def start_date(self):
            raise RuntimeError("DetachedInstanceError")

    assert facts.run_of(Detached()) == facts.Run("daily", "r1")
