"""Every code block of the documents is run against a real cluster, page by page, or says why not.

`ON_STAGE` and `ON_BARE` say what stands for a page's placeholders, and what has to be there before; a page that is in
neither is typed as it stands. The README's shell blocks are a story of their own (`test_blocks.py`). Blocks that need
another product carry `<!-- not run: … -->` and are checked by their syntax only (there).
"""

from __future__ import annotations

import json
import secrets

import pytest
from tests.docs.blocks import PAGES, ROOT, SHELL, blocks
from tests.docs.reader import Page, Reader

from pipebell.cluster import Cluster
from pipebell.demo.stage import NAMESPACE, Stage

RECORDED = ROOT / "tests" / "integrations" / "recorded"
ENV = """cat > .env.local <<'END'
SMTP_USERNAME=platform@example.com
SMTP_PASSWORD='an app password'
DEFAULT_ADMIN_EMAIL=oncall@example.com
SLACK_WEBHOOK_URL=https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX
SLACK_WEBHOOK_ACME=https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX
END"""

# A configuration, and an event of it that has failed: its mail server was not there, and now it is.
FAILED = """apply() { kubectl apply -f - <<END
apiVersion: pipebell.io/v1alpha1
kind: NotificationConfig
metadata: {name: $1}
spec:
  orgSlug: $2
  retryConfig: {maxAttempts: 1}
  eventTriggers: [{event: pipeline_failure, providers: [email], cooldownSeconds: 0}]
  email: {toEmails: [data@acme.example]$3}
END
kubectl wait "nc/$1" --for=jsonpath='{.status.conditions[0].status}'=True --timeout=60s; }
apply before acme_corp ', smtpHost: 127.0.0.1, smtpPort: 9, smtpUseTls: false, fromEmail: a@acme.example'
pipebell send --org acme_corp --pipeline nightly --message "no rows" --dedup-key failed
event=$(kubectl get pe -o jsonpath='{.items[0].metadata.name}')
kubectl wait "pe/$event" --for=jsonpath='{.status.phase}'=Failed --timeout=60s
"""
MENDED = FAILED + "apply before acme_corp ''\n"

# A pipeline that fails, of an organisation with incidents.
INCIDENT = """kubectl apply -f - <<END
apiVersion: pipebell.io/v1alpha1
kind: NotificationConfig
metadata: {name: acme}
spec: {orgSlug: acme_corp, email: {toEmails: [data@acme.example]}, incidents: {enabled: true}}
END
kubectl wait nc/acme --for=jsonpath='{.status.conditions[0].status}'=True --timeout=60s
pipebell send --org acme_corp --pipeline nightly --message "no rows" --wait
for _ in $(seq 120); do [ -z "$(kubectl get inc -o name)" ] || break; sleep 0.5; done
incident=$(kubectl get inc -o jsonpath='{.items[0].metadata.name}')
kubectl wait "inc/$incident" --for=jsonpath='{.status.phase}'=Open --timeout=60s
"""

# A configuration with a template, an event, and a template alone.
TEMPLATES = """cat > acme.yaml <<END
apiVersion: pipebell.io/v1alpha1
kind: NotificationConfig
metadata: {name: acme}
spec: {orgSlug: acme_corp, email: {toEmails: [data@acme.example], subjectTemplate: "own {{ event.pipeline }}"}}
END
cat > event.yaml <<END
apiVersion: pipebell.io/v1alpha1
kind: PipelineEvent
metadata: {name: mine}
spec: {orgSlug: acme_corp, event: pipeline_failure, pipelineId: orders}
END
echo '<p>{{ org }}</p>' > email.htmlTemplate.j2
"""

ON_STAGE = {
    "README.md": Page(prelude=MENDED, names="error = 'no rows'", after="kubectl get pe", shows=("daily-sales",)),
    "docs/quickstart-org-admin.md": Page(
        stand_ins={"-n data": "", "EVENT": '"$event"'},
        prelude=f"{FAILED}kubectl delete nc before",
        files={"toEmails: [data@acme.com, oncall@acme.com]": "acme.yaml"},
        before={"pipebell verify": "kubectl wait nc/acme --for=jsonpath='{.status.conditions[0].status}'=True"},
        shows=("ok    email: login", "email: Delivered", "acme_corp"),
    ),
    "docs/quickstart-data-engineer.md": Page(
        stand_ins={"-n data": "", "data:daily-orders": "$(kubectl config view --minify -o jsonpath={..namespace}):x"},
        prelude=f"{MENDED}printf '#!/bin/sh\\nexit 0\\n' > daily-orders.sh; chmod +x daily-orders.sh",
        names="run_id, error = 'run-7', 'no rows'",
        shows=("email: Delivered", "daily-orders"),
    ),
    "docs/sdk.md": Page(
        # Of two events for another cluster, one is sent to this one and the other is dropped.
        prelude=f"""{MENDED}printf '#!/bin/sh\\nexit 0\\n' > daily-orders.sh; chmod +x daily-orders.sh
sed 's|server: .*|server: https://127.0.0.1:9|' kubeconfig > away
cat > spooled.py <<END
from pipebell import get_sync_notification_service
get_sync_notification_service(kubeconfig="away").notify_pipeline_failure("acme_corp", pipeline_id="for-another")
END
python spooled.py""",
        stand_ins={
            "spool send      ": "spool send || test $? = 1  #",  # 1 says that something is left: what was for another
            "--to-current-cluster    # also": "--to-current-cluster --yes  # also",
            "drop NAME ": "drop --all --yes ",
        },
        names="from pipebell import pipeline_run\nrun_id = 'run-7'\nasync def load():\n    return 3\n",
        before={"pipebell exec": "kubectl get pe; python spooled.py; pipebell spool drop --all --yes"},
        after="pipebell spool ls; kubectl get pe",
        shows=("for-another", "1 sent", "1 dropped", "daily-orders"),
    ),
    "docs/troubleshooting.md": Page(
        stand_ins={
            "-n NAMESPACE": "",
            "-n data": "",
            "EVENT": '"$event"',
            "ORG": "acme_corp",
            "nc acme": "nc before",
        },
        prelude=f'{MENDED}pipebell replay "$event"\n{ENV}',
        before={
            "pipebell validate": "kubectl wait nc/before --timeout=120s "
            "--for=jsonpath='{.status.verification.destinations[0].ok}'=true"
        },
        shows=("namespaces", "ok    email: login", "email: Delivered"),
    ),
    "docs/templates.md": Page(
        prelude=TEMPLATES, shows=("blocksTemplate: |", "own nightly-orders-load", "<p>acme_corp</p>", "own orders")
    ),
    "docs/silences.md": Page(
        stand_ins={"-n pipebell-system": ""},
        prelude=f"{FAILED}kubectl delete nc before",
        before={
            "unsilence": "kubectl wait sil/migration --for=jsonpath='{.status.phase}'=Active --timeout=60s; "
            "pipebell send --org acme_corp --pipeline orders-nightly --message x --wait || true; "
            "kubectl get pe,silences",
        },
        after="kubectl get pe,silences",
        shows=("orders-*", "Active", "Silenced", "silence/migration ended"),
    ),
    "docs/incidents.md": Page(
        stand_ins={"-n data": "", "NAME": '"$incident"'},
        prelude=INCIDENT,
        after="""kubectl wait "inc/$incident" --for=jsonpath='{.status.phase}'=Resolved --timeout=60s
pipebell incidents --all""",
        shows=("nightly", "Open", "Resolved"),
    ),
    "docs/quickstart-on-call.md": Page(
        stand_ins={"-n data": "", "INCIDENT": '"$incident"', "EVENT": '"$event"'},
        prelude=f"{INCIDENT}event=$(kubectl get pe -o name)",
        after="""kubectl wait "inc/$incident" --for=jsonpath='{.status.phase}'=Resolved --timeout=60s
pipebell incidents --all""",
        shows=("nightly", "Open", "deliver", "silence/warehouse ended", "Resolved"),
    ),
    "docs/migration.md": Page(
        stand_ins={"-n data": "", "-f -": "--dry-run=server -f -"},
        prelude=ENV,
        after="pipebell validate out; pipebell validate out --env-file .env.local; test -s out/_root/secret.yaml",
    ),
    "docs/integrations/dbt.md": Page(
        prelude=f"{MENDED}mkdir target; cp {RECORDED}/dbt_run_results.json target/run_results.json"
        f"; cp {RECORDED}/dbt_manifest.json target/manifest.json",
        after="kubectl get pe",
        shows=("data_quality_failure",),
    ),
}

# Without anything of Pipebell's: what is installed is what the page installs.
UNINSTALL = "helm uninstall pipebell --namespace pipebell-system"
# The definitions as if somebody else had applied them.
DISOWN = """kubectl annotate crd --all meta.helm.sh/release-name- meta.helm.sh/release-namespace-
kubectl label crd --all app.kubernetes.io/managed-by-"""
INSTALL = "helm install pipebell charts/pipebell --namespace pipebell-system --create-namespace"
ON_BARE = {
    "docs/install.md": Page(
        stand_ins={" …": "", "=…": "=x"},
        before={
            "--take-ownership": f"{UNINSTALL}; {DISOWN}\n! {INSTALL} 2> said; grep 'invalid ownership metadata' said",
            "--set crds.enabled=false": f"{UNINSTALL}; {DISOWN}",
            "kubectl apply --server-side -k manifests": UNINSTALL,
            "helm upgrade": f"{INSTALL} --take-ownership",
        },
        files={"kind: Kustomization": "overlays/mine/kustomization.yaml"},
        after=f"kubectl kustomize overlays/mine > rendered.yaml; grep 'image: registry' rendered.yaml; {UNINSTALL}",
        shows=("STATUS: deployed", "registry.example.com/pipebell:0.1.0"),
    ),
    "docs/multi-tenancy.md": Page(
        prelude=f"{INSTALL}; kubectl create namespace team-a",
        before={
            "$ kubectl --namespace team-a": """cat > event.yaml <<END
apiVersion: pipebell.io/v1alpha1
kind: PipelineEvent
metadata: {name: nightly}
spec: {orgSlug: initech, event: pipeline_failure}
END
for _ in $(seq 60); do kubectl --namespace team-a apply --dry-run=server -f event.yaml || break; sleep 0.5; done"""
        },
        after=UNINSTALL,
    ),
    "docs/configuration.md": Page(prelude=f"{ENV}\n{INSTALL}", after=UNINSTALL),
    "charts/pipebell/README.md": Page(after=UNINSTALL, shows=("STATUS: deployed",)),
}
DEFAULT = Page()


def runs(name):
    """Whether anything of a page is to be typed."""
    found = blocks(PAGES[name].read_text(encoding="utf-8"), *SHELL, "python", "yaml")
    return any(not block.why_not for block in found)


TYPED = [name for name in PAGES if runs(name)]


@pytest.fixture(scope="module")
def on_stage(tmp_path_factory):
    """A reader whose cluster has an operator, a mail server and a Slack."""
    with Stage() as stage:
        stage.start()
        stage.put_root(stage.root_json())
        variables = {name: value for name, value in stage.environment().items() if not name.startswith("PIPEBELL_")}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pipebell-root-variables"}}
        stage.apply(json.dumps(secret | {"stringData": variables}), namespace=NAMESPACE)
        env = {key: stage.environment()[key] for key in ("PIPEBELL_CA_FILE", "PIPEBELL_SLACK_HOSTS")}
        yield Reader(tmp_path_factory.mktemp("stage"), stage.cluster, env)


@pytest.fixture(scope="module")
def on_bare(tmp_path_factory):
    """A reader whose cluster has nothing of Pipebell's."""
    with Cluster.start() as cluster:
        yield Reader(tmp_path_factory.mktemp("bare"), cluster)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in TYPED if name not in ON_BARE])
def test_pages_of_a_cluster_with_pipebell(on_stage, name):
    namespace = f"page-{secrets.token_hex(4)}"
    on_stage.cluster.kubectl("create", "namespace", namespace)
    on_stage.type(name, ON_STAGE.get(name, DEFAULT), namespace)
    on_stage.cluster.delete_namespace(namespace)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ON_BARE)
def test_pages_that_install(on_bare, name):
    namespace = f"page-{secrets.token_hex(4)}"
    on_bare.cluster.kubectl("create", "namespace", namespace)
    on_bare.type(name, ON_BARE[name], namespace)
    on_bare.cluster.delete_namespace(NAMESPACE)


def test_what_is_set_for_a_page_is_a_page():
    assert set(ON_STAGE) | set(ON_BARE) <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_run_needs_something_that_is_not_here(name):
    """A reason says more than that: it names what it would take, or who runs it instead."""
    for block in blocks(PAGES[name].read_text(encoding="utf-8")):
        assert not block.why_not or len(block.why_not.split()) >= 3, block
