"""What happens in the demo, in the order in which it happens. Everything is done by kubectl, as users do it."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.status import epoch, rfc3339
from pipebell.core.vocabulary import FINAL_PHASES, NoticeKind, Phase
from pipebell.demo.cast import (
    AFTER_BURST,
    ALL_EVENTS,
    BROKEN_FOR,
    BURST,
    BURST_EVENTS,
    BUSY,
    EVERYWHERE,
    HOOLI_MAILBOX,
    NO_ROOT,
    OPENED,
    PARTIAL,
    RECOVERED,
    REPEATED,
    RESOLVED,
    RETRIED,
    SHORT_COOLDOWN,
    STOOD_IN,
    TAKEN_BY,
)
from pipebell.demo.evidence import Evidence, Refusal, collect
from pipebell.demo.files import objects, shipped
from pipebell.demo.follow import Follower
from pipebell.sinks import Respond, Say
from pipebell.sinks.pagerduty import ALERTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from pipebell.demo.stage import Stage
    from pipebell.sinks import Mail

_FINAL: Final = frozenset(phase.value for phase in FINAL_PHASES)
_PATIENCE: Final = 60.0  # seconds, for a machine that has a lot else to do


class Steps(Protocol):
    """Tells people where the demo is."""

    def __call__(self, text: str) -> AbstractContextManager[Callable[[str], None]]:
        """A step begins; it ends with the block. What it gives takes what came of the step."""


class Scenario:
    """The story on one stage."""

    def __init__(self, stage: Stage, steps: Steps) -> None:
        self._stage, self._steps = stage, steps
        self._globex = stage.slack.webhook(f"Globex{secrets.token_hex(9)}")
        self._vandelay = stage.slack.webhook(f"Vandelay{secrets.token_hex(8)}")
        self._vendors = {
            "routing_key": secrets.token_hex(16),
            "bot_token": f"xoxb-{secrets.token_hex(16)}",
            "signing_secret": f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
            "workflow": stage.outside.workflow(f"Soylent{secrets.token_hex(8)}"),
            "discord": f"https://discord.com/api/webhooks/1205/{secrets.token_hex(16)}",
            "google_chat": f"https://chat.googleapis.com/v1/spaces/soylent/messages?key=k&token={secrets.token_hex(16)}",
            "telegram_token": f"1205:{secrets.token_hex(16)}",
            "mattermost": f"{stage.outside.sinks['mattermost'].url}/hooks/{secrets.token_hex(16)}",
            "jsm_key": secrets.token_hex(16),
            "twilio_token": secrets.token_hex(16),
            "deleted_key": secrets.token_hex(16),
            "lab_key": secrets.token_hex(16),
        }
        self._places = {kind: stage.outside.sinks[kind].url for kind in ("webhook", "alertmanager")}
        self._typo = Refusal(0, "")
        self._follower = Follower(stage, RETRIED.partition("/")[0])

    def play(self) -> Evidence:
        """All of it. Raises StageError when something that has to happen does not."""
        try:
            self._act()
        finally:
            seen = self._follower.stop()
        with self._steps("collect the evidence: resources, receivers, audit log, operator's log") as note:
            # Kubernetes Events are posted in the background.
            self._stage.until(self._noticed, "Kubernetes Events about what did not arrive", _PATIENCE)
            evidence = collect(self._stage, self._typo, seen, self._credentials)
            note(f"{len(evidence.attempts)} SMTP transactions, {len(evidence.requests)} Slack requests")
        return evidence

    def _act(self) -> None:
        self._prepare_receivers()
        self._before_root()
        self._configure()
        self._report()
        self._burst()
        self._mistype()
        self._everywhere()
        self._fail_over()
        self._last_and_end()
        self._wait_for_the_rest()
        self._after_the_cooldown()

    def _prepare_receivers(self) -> None:
        """Some trouble is arranged: a mailbox that is busy twice, a Slack webhook and a PagerDuty key that are gone."""
        busy = iter(range(BUSY))

        def answer(mail: Mail) -> Say | None:
            if HOOLI_MAILBOX in mail.recipients and next(busy, None) is not None:
                return Say(status="451 4.3.0 Mailbox is busy, try again later")
            return None

        self._stage.smtp.script("data").always = answer
        self._stage.slack.script(self._vandelay).always = lambda _: Respond(404, "no_service")
        deleted = self._vendors["deleted_key"].encode()
        refusal = Respond(
            400, '{"status":"invalid event","message":"Event object is invalid","errors":["no such key"]}'
        )
        self._stage.outside.pagerduty.script(ALERTS).always = lambda post: refusal if deleted in post.body else None

    def _before_root(self) -> None:
        with self._steps("an event of an organisation that nobody has configured") as note:
            self._stage.apply(objects("before-root.yaml"))
            note(self._summary(self._wait_for([NO_ROOT])[NO_ROOT]))

    def _configure(self) -> None:
        stage = self._stage
        with self._steps("kubectl apply: root configuration and the organisations") as note:
            stage.put_root(stage.root_json())
            stage.apply(
                objects(
                    "organisations.yaml",
                    smtp_host=stage.smtp.host,
                    smtp_port=str(stage.smtp.port),
                    globex_password=stage.users["globex"],
                    globex_webhook=self._globex,
                    vandelay_webhook=self._vandelay,
                )
            )
            stage.apply(objects("vendors.yaml", **self._vendors, **self._places))
            stage.apply(objects("incident.yaml", **self._vendors))
            for sample, namespace in (("partial", "acme"), ("disabled", "quiet")):
                stage.cluster.kubectl("apply", "-n", namespace, "-f", shipped(f"configs/samples/{sample}.yaml"))
            self._leave_a_record()
            stage.until(self._all_ready, "condition Ready on every NotificationConfig", _PATIENCE)
            note("all are Ready")

    def _leave_a_record(self) -> None:
        """What an operator before this one would have left: since when vandelay's Slack fails. It does fail, too."""
        since = rfc3339(time.time() - BROKEN_FOR)
        record = {"name": "slack", "provider": "slack", "state": "Failing", "since": since, "reason": "Http404"}
        patch = json.dumps({"status": {"destinations": [record]}})
        self._stage.cluster.kubectl(
            "patch", "nc", "vandelay", "-n", "vandelay", "--subresource=status", "--type=merge", "-p", patch
        )

    def _report(self) -> None:
        with self._steps("kubectl apply: pipelines report 15 events of all seven types") as note:
            self._follower.start()
            self._stage.apply(objects("events.yaml"))
            self._stage.cluster.kubectl("apply", "-n", "acme", "-f", shipped("configs/samples/events.yaml"))
            note("one with hostile text, one to a busy mailbox, one to a removed webhook")

    def _burst(self) -> None:
        with self._steps(f"kubectl create: {BURST} pipelines of stark fail at once") as note:
            names = [event.partition("/")[2] for event in BURST_EVENTS]
            manifest = "---\n".join(objects("failure.yaml", name=name) for name in names)
            self._stage.cluster.kubectl("create", "-f", "-", input=manifest)
            found = self._wait_for(BURST_EVENTS)
            phases = [item["status"]["phase"] for item in found.values()]
            note(f"{phases.count(Phase.DELIVERED)} Delivered, {phases.count(Phase.SUPPRESSED)} Suppressed")

    def _mistype(self) -> None:
        with self._steps("kubectl apply: an event whose type is mistyped") as note:
            done = self._stage.cluster.kubectl("apply", "-f", "-", input=objects("typo.yaml"), check=False)
            self._typo = Refusal(done.returncode, done.stderr.strip())
            note("rejected" if done.returncode else "accepted")

    def _everywhere(self) -> None:
        with self._steps("a failure to all eleven other kinds of destinations, then a success") as note:
            for event, kind in ((EVERYWHERE, "pipeline_failure"), (RESOLVED, "pipeline_success")):
                self._stage.apply(objects("menu.yaml", name=event.partition("/")[2], event=kind))
                note(self._summary(self._wait_for([event])[event]))

    def _fail_over(self) -> None:
        with self._steps("a failure to a PagerDuty integration that was deleted, with e-mail to stand in") as note:
            self._stage.apply(objects("failover.yaml"))
            note(self._summary(self._wait_for([STOOD_IN])[STOOD_IN]))

    def _last_and_end(self) -> None:
        with self._steps(
            "a pipeline that fails three times, a reminder, somebody who takes it over, its success"
        ) as note:
            for event in (OPENED, *REPEATED):
                self._happen(event, "pipeline_failure")
            self._stage.until(lambda: self._noted(NoticeKind.REMINDER), "the reminder", _PATIENCE)
            (name,) = (key.partition("/")[2] for key in self._stage.items("incidents"))
            patch = json.dumps({"spec": {"acknowledgement": {"by": TAKEN_BY}}})
            self._stage.cluster.kubectl("patch", "inc", name, "-n", "cyberdyne", "--type=merge", "-p", patch)
            self._stage.until(lambda: self._incident_is(IncidentPhase.ACKNOWLEDGED), "the acknowledgement", _PATIENCE)
            self._stage.until(lambda: self._noted(NoticeKind.ACKNOWLEDGED), "word of the acknowledgement", _PATIENCE)
            self._happen(RECOVERED, "pipeline_success")
            self._stage.until(lambda: self._incident_is(IncidentPhase.RESOLVED), "the incident's end", _PATIENCE)
            self._stage.until(lambda: self._noted(NoticeKind.RESOLVED), "the change of the first message", _PATIENCE)
            note("one incident in e-mail, Slack and PagerDuty: told, reminded, acknowledged, recovered")

    def _happen(self, event: str, kind: str) -> None:
        self._stage.apply(objects("upgrade.yaml", name=event.partition("/")[2], event=kind))
        self._wait_for([event])

    def _noted(self, kind: NoticeKind) -> bool:
        """Whether what the operator tells of the incident by itself has been told."""
        return any(
            item["spec"].get("notice", {}).get("kind") == kind.value and _phase(item) in _FINAL
            for item in self._stage.items("pipelineevents").values()
        )

    def _incident_is(self, phase: IncidentPhase) -> bool:
        return {_phase(item) for item in self._stage.items("incidents").values()} == {phase.value}

    @property
    def _credentials(self) -> tuple[str, ...]:
        """What must show nowhere."""
        urls = (self._globex, self._vandelay)
        return (*urls, *(url.rpartition("/")[2] for url in urls), *self._vendors.values())

    def _wait_for_the_rest(self) -> None:
        with self._steps("everything else: retries of 1 s and 2 s, failures for good") as note:
            found = self._wait_for([event for event in ALL_EVENTS if event != AFTER_BURST])
            self._stage.until(self._channel_reported, "word of vandelay's Slack, which has failed for long", _PATIENCE)
            note(f"{len(found)} events are final; vandelay was told by e-mail that its Slack fails")

    def _after_the_cooldown(self) -> None:
        text = f"kubectl patch: stark's cooldown from 300 s to {SHORT_COOLDOWN} s, then one more failure after it"
        with self._steps(text) as note:
            trigger = f'{{"event":"pipeline_failure","providers":["email"],"cooldownSeconds":{SHORT_COOLDOWN}}}'
            patch = f'{{"spec":{{"eventTriggers":[{trigger}]}}}}'
            self._stage.cluster.kubectl("patch", "nc", "stark", "-n", "stark", "--type=merge", "-p", patch)
            self._stage.until(self._all_ready, "condition Ready on stark's changed configuration", _PATIENCE)
            self._stage.until(self._window_over, "end of the cooldown", _PATIENCE)
            self._stage.apply(objects("failure.yaml", name=AFTER_BURST.partition("/")[2]))
            note(self._summary(self._wait_for([AFTER_BURST])[AFTER_BURST]))

    # ------------------------------------------------------------------ watching

    def _wait_for(self, events: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Wait until all these events are final."""
        wanted = set(events)

        def final() -> dict[str, dict[str, Any]] | None:
            found = self._stage.items("pipelineevents")
            done = {key: item for key, item in found.items() if key in wanted and _phase(item) in _FINAL}
            return done if len(done) == len(wanted) else None

        return self._stage.until(final, f"final phase of {len(wanted)} events", _PATIENCE) or {}

    def _all_ready(self) -> bool:
        configs = self._stage.items("notificationconfigs").values()
        return all(
            condition.get("observedGeneration") == config["metadata"]["generation"] and condition["status"] == "True"
            for config in configs
            for condition in _conditions(config)
            if condition["type"] == "Ready"
        ) and all(_conditions(config) for config in configs)

    def _window_over(self) -> bool:
        burst = self._stage.items("pipelineevents")
        sent = [item for key, item in burst.items() if key in BURST_EVENTS and _phase(item) == Phase.DELIVERED]
        times = [epoch(entry["deliveredTime"]) for item in sent for entry in item["status"]["deliveries"]]
        return time.time() > max(times, default=0.0) + SHORT_COOLDOWN

    def _noticed(self) -> bool:
        paths = (f"/api/v1/namespaces/{event.partition('/')[0]}/events" for event in (PARTIAL, STOOD_IN))
        return all(self._stage.cluster.request("GET", path)["items"] for path in paths)

    def _channel_reported(self) -> bool:
        return self._noted(NoticeKind.CHANNEL)

    @staticmethod
    def _summary(event: dict[str, Any]) -> str:
        status = event["status"]
        return "/".join(status[key] for key in ("phase", "reason") if status.get(key))


def _phase(item: dict[str, Any]) -> str:
    phase: str = item.get("status", {}).get("phase", "")
    return phase


def _conditions(config: dict[str, Any]) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = config.get("status", {}).get("conditions", [])
    return conditions
