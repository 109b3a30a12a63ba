"""The reducer by histories: what happens, what is sent for it, and what is left of it.

A step is `seconds WHAT options`: F fails, S succeeds, Q data quality fails, E system error, R rate limit, M missing,
B starts; the other words are the methods of `world.World`. A line of the log is `seconds WHAT destinations`.
"""

from __future__ import annotations

import pytest
from tests.core.incidents.world import play

NEVER = {"remindAfterSeconds": 0}
TWO = ("slack", "email")
DUTY = ("slack", "pagerduty")
FLAPS = {**NEVER, "flapping": {"changes": 2, "withinSeconds": 600}}
STEPS = {
    **NEVER,
    "escalation": [
        {"afterSeconds": 900, "providers": ["pagerduty"], "repeatSeconds": 600},
        {"afterSeconds": 1800, "providers": ["email"]},
    ],
}

HISTORIES = {
    # ---- one failure, many, the end
    "one failure": ("0 F", NEVER, {}, "0 Opened slack", "p Open/1"),
    "three failures, one message": ("0 F;60 F;120 F", NEVER, {}, "0 Opened slack|60 Repeated|120 Repeated", "p Open/3"),
    "failed and recovered": ("0 F;60 S", NEVER, {}, "0 Opened slack|60 Recovered slack", "p Resolved/1"),
    "five failures and the end": (
        "0 F;1 F;2 F;3 F;4 F;60 S",
        NEVER,
        {},
        "0 Opened slack|1 Repeated|2 Repeated|3 Repeated|4 Repeated|60 Recovered slack",
        "p Resolved/5",
    ),
    "success alone": ("0 S", NEVER, {}, "0 NoTrigger", ""),
    "success wanted by a trigger": ("0 S", NEVER, {"success": ("email",)}, "0 Sent email", ""),
    "two successes": ("0 F;60 S;61 S", NEVER, {}, "0 Opened slack|60 Recovered slack|61 NoTrigger", "p Resolved/1"),
    "recovery to those told and to its trigger's, once each": (
        "0 F;60 S",
        NEVER,
        {"success": ("email", "slack")},
        "0 Opened slack|60 Recovered slack,email",
        "p Resolved/1",
    ),
    "a start is nothing": ("0 F;30 B", NEVER, {}, "0 Opened slack|30 NoTrigger", "p Open/1"),
    "fails again after its end": (
        "0 F;60 S;120 F",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack|120 Opened slack",
        "p Resolved/1|p Open/1",
    ),
    "no recovery wanted": (
        "0 F;60 S",
        {**NEVER, "notifyRecovery": False},
        {},
        "0 Opened slack|60 NoTrigger",
        "p Resolved/1",
    ),
    "no recovery wanted, but alerts are closed": (
        "0 F;60 S",
        {**NEVER, "notifyRecovery": False},
        {"to": DUTY},
        "0 Opened slack,pagerduty|60 Recovered pagerduty",
        "p Resolved/1",
    ),
    # ---- others
    "two pipelines never mute each other": (
        "0 F p=a;1 F p=b;2 F p=a;3 S p=a",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|2 Repeated|3 Recovered slack",
        "a Resolved/2|b Open/1",
    ),
    "two namespaces of one slug": (
        "0 F;1 F ns=other;2 S",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|2 Recovered slack",
        "p Resolved/1|other/p Open/1",
    ),
    "two organisations of one namespace": (
        "0 F;1 F org=globex;2 S org=globex",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|2 Recovered slack",
        "p Open/1|p Resolved/1",
    ),
    "classes are apart": (
        "0 F;1 E;2 Q",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|2 Opened slack",
        "p Open/1|System:p Open/1|DataQuality:p Open/1",
    ),
    "missing and failed are one": (
        "0 M;1 F;60 S",
        NEVER,
        {},
        "0 Opened slack|1 Repeated|60 Recovered slack",
        "p Resolved/2",
    ),
    "rate limits and system errors are one": (
        "0 R;1 E",
        NEVER,
        {},
        "0 Opened slack|1 Worsened slack",
        "System:p Open/2",
    ),
    "a success ends no system error": ("0 E;60 S", NEVER, {}, "0 Opened slack|60 NoTrigger", "System:p Open/1"),
    # ---- keys
    "a key of its own": (
        "0 F p=a key=x;1 F p=b key=x;60 S p=c key=x",
        NEVER,
        {},
        "0 Opened slack|1 Repeated|60 Recovered slack",
        "incidentKey\\=x Resolved/2".replace("\\", ""),
    ),
    "an incidentKey is no pipeline": (
        "0 F p=a key=b;1 F p=b",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack",
        "incidentKey=b Open/1|b Open/1",
    ),
    "by owner": (
        "0 F p=a owner=x;1 F p=b owner=x;60 S p=b owner=x",
        {**NEVER, "groupBy": ["owner"]},
        {},
        "0 Opened slack|1 Repeated|60 Recovered slack",
        "owner=x Resolved/2",
    ),
    "by a label": (
        "0 F env=prod;1 F env=test",
        {**NEVER, "groupBy": ["label:env"]},
        {},
        "0 Opened slack|1 Opened slack",
        "label:env=prod Open/1|label:env=test Open/1",
    ),
    "by type, a success ends each": (
        "0 F;1 M;60 S",
        {**NEVER, "groupBy": ["pipelineId", "event"]},
        {},
        "0 Opened slack|1 Opened slack|60 Recovered slack",
        "p,event=pipeline_failure Resolved/1|p,event=pipeline_missing Resolved/1",
    ),
    "what looks like two values is one": (
        "0 F p=a,owner=x;1 F p=a owner=x,owner=",
        {**NEVER, "groupBy": ["pipelineId", "owner"]},
        {},
        "0 Opened slack|1 Opened slack",
        "a\\,owner\\=x,owner= Open/1|a,owner=x\\,owner\\= Open/1",
    ),
    # ---- severity
    "worse is told again": (
        "0 F;1 F sev=critical;2 F sev=critical",
        NEVER,
        {},
        "0 Opened slack|1 Worsened slack|2 Repeated",
        "p Open/3",
    ),
    "milder is not": (
        "0 F sev=critical;1 F;2 F sev=warning",
        NEVER,
        {},
        "0 Opened slack|1 Repeated|2 Repeated",
        "p Open/3",
    ),
    "worse goes to a new acknowledgement": (
        "0 F;1 ack;2 F;3 F sev=critical",
        NEVER,
        {},
        "0 Opened slack|2 Repeated|3 Worsened slack",
        "p Open/3",
    ),
    # ---- thresholds
    "third in a row": (
        "0 F;1 F;2 F;3 F",
        {**NEVER, "notifyAfterFailures": 3},
        {},
        "0 BelowThreshold|1 BelowThreshold|2 Opened slack|3 Repeated",
        "p Open/4",
    ),
    "two, then the end: nobody is told": (
        "0 F;1 F;2 S;3 F",
        {**NEVER, "notifyAfterFailures": 3},
        {},
        "0 BelowThreshold|1 BelowThreshold|2 NoTrigger|3 BelowThreshold",
        "p Resolved/2|p Pending/1",
    ),
    "failing for ten minutes": (
        "0 F;60 F;700 F",
        {**NEVER, "notifyAfterSeconds": 600},
        {},
        "0 BelowThreshold|60 BelowThreshold|600 Opening slack|700 Repeated",
        "p Open/3",
    ),
    "recovered before ten minutes": (
        "0 F;60 S;700 tick",
        {**NEVER, "notifyAfterSeconds": 600},
        {},
        "0 BelowThreshold|60 NoTrigger",
        "p Resolved/1",
    ),
    "both thresholds, time first": (
        "0 F;700 F",
        {**NEVER, "notifyAfterSeconds": 600, "notifyAfterFailures": 2},
        {},
        "0 BelowThreshold|700 Opened slack",
        "p Open/2",
    ),
    "both thresholds, count first": (
        "0 F;1 F;700 tick",
        {**NEVER, "notifyAfterSeconds": 600, "notifyAfterFailures": 2},
        {},
        "0 BelowThreshold|1 BelowThreshold|600 Opening slack",
        "p Open/2",
    ),
    # ---- retries in progress
    "the last attempt counts": (
        "0 F run=r att=1/3;60 F run=r att=2/3;120 F run=r att=3/3",
        NEVER,
        {},
        "0 RetryExpected|60 RetryExpected|120 Opened slack",
        "p Open/1",
    ),
    "the second attempt succeeds": (
        "0 F run=r att=1/3;60 S run=r;7200 tick",
        NEVER,
        {},
        "0 RetryExpected|60 NoTrigger",
        "p Resolved/0",
    ),
    "no further attempt comes": (
        "0 F run=r att=1/3;7200 tick",
        NEVER,
        {},
        "0 RetryExpected|3600 Opening slack",
        "p Open/1",
    ),
    "each attempt extends it": (
        "0 F run=r att=1/3;3000 F run=r att=2/3;7200 tick",
        NEVER,
        {},
        "0 RetryExpected|3000 RetryExpected|6600 Opening slack",
        "p Open/1",
    ),
    "a retry of what was told": (
        "0 F;60 F att=1/2;61 S",
        NEVER,
        {},
        "0 Opened slack|60 RetryExpected|61 Recovered slack",
        "p Resolved/1",
    ),
    "every attempt is wanted": (
        "0 F att=1/3;1 F att=2/3",
        {**NEVER, "onlyFinalAttempt": False},
        {},
        "0 Opened slack|1 Repeated",
        "p Open/2",
    ),
    "an attempt without a number is the last": ("0 F run=r", NEVER, {}, "0 Opened slack", "p Open/1"),
    "retry, then below the threshold": (
        "0 F att=1/2;10 F att=2/2;7200 tick",
        {**NEVER, "notifyAfterFailures": 2},
        {},
        "0 RetryExpected|10 BelowThreshold",
        "p Pending/1",
    ),
    "a run that dies at its first attempt is told, however soon the next run begins": (
        "0 F run=a att=1/3;1800 F run=b att=1/3;3600 F run=c att=1/3;5399 F run=d att=1/3;9000 tick",
        NEVER,
        {},
        "0 RetryExpected|1800 RetryExpected|3600 Opening slack|3600 RetryExpected|5399 RetryExpected",
        "p Open/4",
    ),
    "and so are several of them, below a threshold": (
        "0 F run=a att=1/3;1800 F run=b att=1/3;9000 tick",
        {**NEVER, "notifyAfterFailures": 2},
        {},
        "0 RetryExpected|1800 RetryExpected|5400 Opening slack",
        "p Open/2",
    ),
    "another run's last attempt ends no other's wait": (
        "0 F run=a att=1/3;60 F run=b;7200 tick",
        {**NEVER, "notifyAfterFailures": 2},
        {},
        "0 RetryExpected|60 BelowThreshold|3600 Opening slack",
        "p Open/2",
    ),
    "an attempt does not postpone what a cooldown holds": (
        "0 F;10 S;20 F;100 F run=r att=1/3;400 tick",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|10 Recovered slack|20 Cooldown|100 RetryExpected|300 Opening slack",
        "p Resolved/1|p Open/1",
    ),
    "nor what has to fail for a while": (
        "0 F;100 F run=r att=1/3;4000 tick",
        {**NEVER, "notifyAfterSeconds": 600},
        {},
        "0 BelowThreshold|100 RetryExpected|600 Opening slack",
        "p Open/2",
    ),
    "the last attempt of a told one that never comes is counted": (
        "0 F;100 F run=r att=1/3;4000 tick",
        NEVER,
        {},
        "0 Opened slack|100 RetryExpected",
        "p Open/2",
    ),
    # ---- order
    "older than the last success": (
        "0 F;60 S occ=59;61 F occ=30",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack|61 Superseded",
        "p Resolved/1",
    ),
    "created before the success, decided after it": (
        "0 F version=1;60 S version=9;60 F version=5 made=60",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack|60 Superseded",
        "p Resolved/1",
    ),
    "older than a success that a late one has followed": (
        "0 F;60 S occ=60;70 S occ=20;80 F occ=40",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack|70 NoTrigger|80 Superseded",
        "p Resolved/1",
    ),
    "a success that is older than one of the failures": (
        "0 F occ=0;60 F occ=50;70 F occ=10;80 S occ=30;90 S occ=55",
        NEVER,
        {},
        "0 Opened slack|60 Repeated|70 Repeated|80 NoTrigger|90 Recovered slack",
        "p Resolved/3",
    ),
    "what a run has found in its data is not over by the run's own end": (
        "0 S run=a;10 S run=b;20 Q run=b occ=5",
        NEVER,
        {},
        "0 NoTrigger|10 NoTrigger|20 Opened slack",
        "DataQuality:p Open/1",
    ),
    "in the same second, but after it": (
        "0 F;60 S occ=60.4;60 F",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack|60 Opened slack",
        "p Resolved/1|p Open/1",
    ),
    "a claim to have occurred in the future": (
        "0 S;60 F occ=6000;120 S",
        NEVER,
        {},
        "0 NoTrigger|60 Opened slack|120 Recovered slack",
        "p Resolved/1",
    ),
    "a success that is older than the failure": (
        "0 F occ=0;60 S occ=-30",
        NEVER,
        {},
        "0 Opened slack|60 NoTrigger",
        "p Open/1",
    ),
    "told twice by the watch": ("0 F again", NEVER, {}, "0 Opened slack|0 Repeated", "p Open/1"),
    "superseded in another pipeline": ("0 S p=b;1 F occ=-5", NEVER, {}, "0 NoTrigger|1 Opened slack", "p Open/1"),
    # ---- tests and replays
    "a test": ("0 F test;1 F", NEVER, {}, "0 Sent slack|1 Opened slack", "p Open/1"),
    "a replay": ("0 F;1 F replay;2 F", NEVER, {}, "0 Opened slack|1 Sent slack|2 Repeated", "p Open/2"),
    "a test of the end": ("0 F;1 S test", NEVER, {}, "0 Opened slack|1 NoTrigger", "p Open/1"),
    # ---- who was told
    "one of two is lost": (
        "0 lose at=slack;0 F;1 lose;1 F;2 F;3 S",
        NEVER,
        {"to": TWO},
        "0 Opened slack,email|1 Counted slack|2 Repeated|3 Recovered email,slack",
        "p Resolved/3",
    ),
    "the opening fails everywhere": (
        "0 lose at=slack;0 F;1 F;2 lose;2 F",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|2 Opened slack",
        "p Open/3",
    ),
    "nobody was told, so nobody hears of the end": (
        "0 lose at=slack;0 F;60 S",
        NEVER,
        {},
        "0 Opened slack|60 NoTrigger",
        "p Resolved/1",
    ),
    "one is still being tried": (
        "0 slow at=email;0 F;1 F",
        NEVER,
        {"to": TWO},
        "0 Opened slack,email|1 Repeated",
        "p Open/2",
    ),
    "what was tried is lost, so it is told by the next": (
        "0 slow at=email;0 F;1 arrive lost;2 F",
        NEVER,
        {"to": TWO},
        "0 Opened slack,email|2 Counted email",
        "p Open/2",
    ),
    "nothing has arrived yet": (
        "0 slow at=slack;0 F;1 F;2 S",
        NEVER,
        {},
        "0 Opened slack|1 waits:repeated|2 Recovered|2 held slack",
        "p Resolved/1",
    ),
    "the end waits for the opening there": (
        "0 slow at=email;0 F;60 S",
        NEVER,
        {"to": TWO},
        "0 Opened slack,email|60 Recovered slack|60 held email",
        "p Resolved/1",
    ),
    "a destination is added": (
        "0 F;1 config to=slack,email;2 F;3 F",
        None,
        {},
        "0 Opened slack|2 Counted email|3 Repeated",
        "p Open/3",
    ),
    "a destination is taken away": (
        "0 F;1 config to=email;2 S",
        None,
        {"to": TWO},
        "0 Opened slack,email|2 Recovered slack,email",
        "p Resolved/1",
    ),
    # ---- cooldown
    "opened again within the cooldown": (
        "0 F;10 S;20 F;400 tick",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|10 Recovered slack|20 Cooldown|300 Opening slack",
        "p Resolved/1|p Open/1",
    ),
    "and recovered before its end": (
        "0 F;10 S;20 F;30 S;400 tick",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|10 Recovered slack|20 Cooldown|30 NoTrigger",
        "p Resolved/1|p Resolved/1",
    ),
    "opened again after it": (
        "0 F;10 S;301 F",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|10 Recovered slack|301 Opened slack",
        "p Resolved/1|p Open/1",
    ),
    "failing for a while, within the cooldown of the last opening": (
        "0 F;100 S;200 F;5000 tick",
        {**NEVER, "notifyAfterSeconds": 60},
        {"cooldown": 3600},
        "0 BelowThreshold|60 Opening slack|100 Recovered slack|200 BelowThreshold|3660 Opening slack",
        "p Resolved/1|p Open/1",
    ),
    "an attempt that is the last, within the cooldown of the last opening": (
        "0 F;10 S;20 F att=1/2;9000 tick",
        {**NEVER, "retryExpectedSeconds": 60},
        {"cooldown": 3600},
        "0 Opened slack|10 Recovered slack|20 RetryExpected|3600 Opening slack",
        "p Resolved/1|p Open/1",
    ),
    "another pipeline within it": (
        "0 F p=a;1 F p=b",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|1 Opened slack",
        "a Open/1|b Open/1",
    ),
    "worse within the cooldown": (
        "0 F;1 F sev=critical",
        NEVER,
        {"cooldown": 300},
        "0 Opened slack|1 Worsened slack",
        "p Open/2",
    ),
    # ---- reminders
    "after 4 h and 12 h": (
        "0 F;50000 tick",
        {},
        {},
        "0 Opened slack|14400 Reminder slack|43200 Reminder slack",
        "p Open/1",
    ),
    "doubling up to a day": (
        "0 F;300000 tick",
        {},
        {},
        (
            "0 Opened slack|14400 Reminder slack|43200 Reminder slack|100800 Reminder slack|187200 Reminder slack"
            "|273600 Reminder slack"
        ),
        "p Open/1",
    ),
    "none after the end": ("0 F;60 S;50000 tick", {}, {}, "0 Opened slack|60 Recovered slack", "p Resolved/1"),
    "none once acknowledged": ("0 F;60 ack;50000 tick", {}, {}, "0 Opened slack", "p Acknowledged/1"),
    "again when it is taken back": (
        "0 F;60 ack;20000 unack;20001 tick",
        {},
        {},
        "0 Opened slack|20000 Reminder slack",
        "p Open/1",
    ),
    "none while snoozed": (
        "0 F;60 snooze for=20000;50000 tick",
        {},
        {},
        "0 Opened slack|20060 Reminder slack|43200 Reminder slack",
        "p Open/1",
    ),
    "acknowledged for a while": (
        "0 F;60 ack for=20000;20061 tick",
        {},
        {},
        "0 Opened slack|20060 Reminder slack",
        "p Open/1",
    ),
    "no reminder of what nobody was told": (
        "0 F;50000 tick",
        {"notifyAfterFailures": 2},
        {},
        "0 BelowThreshold",
        "p Pending/1",
    ),
    # ---- escalation
    "escalated at 15 min, again, and on": (
        "0 F;3700 tick",
        STEPS,
        {},
        "0 Opened slack|900 Escalation pagerduty|1500 Escalation pagerduty|1800 Escalation email",
        "p Open/1",
    ),
    "two steps of one moment are one": (
        "0 F;3000 tick",
        {
            **NEVER,
            "escalation": [
                {"afterSeconds": 900, "providers": ["pagerduty"]},
                {"afterSeconds": 900, "providers": ["email", "pagerduty"], "repeatSeconds": 1800},
            ],
        },
        {},
        "0 Opened slack|900 Escalation pagerduty,email|2700 Escalation pagerduty,email",
        "p Open/1",
    ),
    "taken back when two steps are overdue: each is told, its repetitions are not": (
        "0 F;60 ack;2000 unack;3700 tick",
        STEPS,
        {},
        "0 Opened slack|2000 Escalation pagerduty|2000 Escalation email",
        "p Open/1",
    ),
    "taken back when many repetitions are overdue": (
        "0 F;901 ack;20000 unack;21500 tick",
        {**NEVER, "escalation": [{"afterSeconds": 900, "providers": ["pagerduty"], "repeatSeconds": 600}]},
        {},
        (
            "0 Opened slack|900 Escalation pagerduty|20000 Escalation pagerduty|20100 Escalation pagerduty"
            "|20700 Escalation pagerduty|21300 Escalation pagerduty"
        ),
        "p Open/1",
    ),
    "acknowledged at 14:59": ("0 F;899 ack;3700 tick", STEPS, {}, "0 Opened slack", "p Acknowledged/1"),
    "acknowledged after the first step": (
        "0 F;901 ack;3700 tick",
        STEPS,
        {},
        "0 Opened slack|900 Escalation pagerduty",
        "p Acknowledged/1",
    ),
    "resumed at the same step": (
        "0 F;901 ack;1600 unack;1601 tick",
        STEPS,
        {},
        "0 Opened slack|900 Escalation pagerduty|1600 Escalation pagerduty",
        "p Open/1",
    ),
    "recovered before it": ("0 F;800 S;3700 tick", STEPS, {}, "0 Opened slack|800 Recovered slack", "p Resolved/1"),
    "counted from when somebody was told": (
        "0 lose at=slack;0 F;600 lose;600 F;1550 tick",
        STEPS,
        {},
        "0 Opened slack|600 Opened slack|1500 Escalation pagerduty",
        "p Open/2",
    ),
    # ---- ends
    "by hand": ("0 F;60 resolve;61 F", NEVER, {}, "0 Opened slack|61 Opened slack", "p Resolved/1|p Open/1"),
    "deleted": ("0 F;60 delete;61 F", NEVER, {}, "0 Opened slack|61 Opened slack", "p Open/1"),
    "acknowledged, then the end": ("0 F;1 ack;60 S", NEVER, {}, "0 Opened slack|60 Recovered slack", "p Resolved/1"),
    "data quality ends by itself": (
        "0 Q;90000 tick",
        NEVER,
        {},
        "0 Opened slack|86400 ends by=autoResolve",
        "DataQuality:p Resolved/1",
    ),
    "and its alert is closed": (
        "0 Q;90000 tick",
        NEVER,
        {"to": DUTY},
        "0 Opened slack,pagerduty|86400 ends by=autoResolve|86400 Resolved pagerduty",
        "DataQuality:p Resolved/1",
    ),
    "a day from the last failure": (
        "0 E;50000 E;100000 tick",
        NEVER,
        {},
        "0 Opened slack|50000 Repeated",
        "System:p Open/2",
    ),
    "a run never does": ("0 F;900000 tick", NEVER, {}, "0 Opened slack", "p Open/1"),
    "unless that is configured": (
        "0 F;900000 tick",
        {**NEVER, "autoResolveAfterSeconds": 600},
        {},
        "0 Opened slack|600 ends by=autoResolve",
        "p Resolved/1",
    ),
    # ---- data quality
    "its own run does not mend it": (
        "0 Q run=r;60 S run=r",
        NEVER,
        {},
        "0 Opened slack|60 NoTrigger",
        "DataQuality:p Open/1",
    ),
    "the next run does": (
        "0 Q run=r;60 S run=s",
        NEVER,
        {},
        "0 Opened slack|60 Recovered slack",
        "DataQuality:p Resolved/1",
    ),
    "its own run does not mend it, however many have found it": (
        ";".join(f"{number} Q run=r{number}" for number in range(70)) + ";80 S run=r69;82 S run=s",
        NEVER,
        {},
        "|".join(["0 Opened slack", *(f"{number} Repeated" for number in range(1, 70))])
        + "|80 NoTrigger|82 Recovered slack",
        "DataQuality:p Resolved/70",
    ),
    "without runs, time does": ("0 Q;60 S", NEVER, {}, "0 Opened slack|60 Recovered slack", "DataQuality:p Resolved/1"),
    "a success ends a run's and data quality's": (
        "0 F;1 Q;60 S",
        NEVER,
        {},
        "0 Opened slack|1 Opened slack|60 Recovered slack",
        "p Resolved/1|DataQuality:p Resolved/1",
    ),
    # ---- flapping: more than two changes in 10 min
    "the third change is told as flapping, and then nothing": (
        "0 F;10 S;20 F;30 S;40 F;50 S;60 F",
        FLAPS,
        {},
        "0 Opened slack|10 Recovered slack|20 Opened slack|30 Flapping|40 Flapping|50 Flapping|60 Flapping",
        "p Resolved/1|p Open/3",
    ),
    "it is told how it stands when it is stable: well": (
        "0 F;10 S;20 F;30 S;1000 tick",
        FLAPS,
        {},
        "0 Opened slack|10 Recovered slack|20 Opened slack|30 Flapping|630 ends by=stable|630 Reminder slack",
        "p Resolved/1|p Resolved/1",
    ),
    "or failing": (
        "0 F;10 S;20 F;30 S;40 F;1000 tick",
        FLAPS,
        {},
        "0 Opened slack|10 Recovered slack|20 Opened slack|30 Flapping|40 Flapping|640 Reminder slack",
        "p Resolved/1|p Open/2",
    ),
    "slowly enough it is not flapping": (
        "0 F;400 S;800 F;1200 S",
        FLAPS,
        {},
        "0 Opened slack|400 Recovered slack|800 Opened slack|1200 Recovered slack",
        "p Resolved/1|p Resolved/1",
    ),
    "detected at a success": (
        "0 F;10 S;20 F;30 S;40 F",
        {**NEVER, "flapping": {"changes": 3, "withinSeconds": 600}},
        {},
        "0 Opened slack|10 Recovered slack|20 Opened slack|30 Counted slack|40 Flapping",
        "p Resolved/1|p Open/2",
    ),
    "worse while it flaps": (
        "0 F;10 S;20 F;30 S;40 F sev=critical",
        FLAPS,
        {},
        "0 Opened slack|10 Recovered slack|20 Opened slack|30 Flapping|40 Worsened slack",
        "p Resolved/1|p Open/2",
    ),
    "flapping switched off": (
        "0 F;1 S;2 F;3 S;4 F;5 S;6 F;7 S;8 F",
        {**NEVER, "flapping": {"changes": 0}},
        {},
        (
            "0 Opened slack|1 Recovered slack|2 Opened slack|3 Recovered slack|4 Opened slack|5 Recovered slack"
            "|6 Opened slack|7 Recovered slack|8 Opened slack"
        ),
        "p Resolved/1|p Resolved/1|p Resolved/1|p Resolved/1|p Open/1",
    ),
    # ---- switched
    "switched off": ("0 F;1 config off;2 F", None, {}, "0 Opened slack|2 Sent slack", "p Open/1"),
    "switched off and on": (
        "0 F;1 config off;2 F;3 config;4 F",
        None,
        {},
        "0 Opened slack|2 Sent slack|4 Repeated",
        "p Open/2",
    ),
    "another groupBy begins another one": (
        "0 F owner=x;1 config groupBy=owner;2 F owner=x",
        None,
        {},
        "0 Opened slack|2 Opened slack",
        "p Open/1|owner=x Open/1",
    ),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_history(history):
    steps, incidents, config, log, states = HISTORIES[history]
    world = play(steps, incidents, **config)
    assert world.log == log.split("|")
    assert world.states() == [state for state in states.split("|") if state]


def test_there_are_enough_histories():
    assert len(HISTORIES) >= 60
