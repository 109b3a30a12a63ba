"""What `make screenshots` photographs: for each kind, a page with the message that our renderer makes of one failure.

The e-mail's page is its HTML, and the card of Teams is laid out by Microsoft's own package. The others are laid out
here, plainly and by what the body says, so that nobody takes them for a picture of somebody's product.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from tests.core.messages import make

from pipebell.core.destinations.http import HttpKind
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.render.email import email_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = ROOT / "docs/images"
RECORD: Final = IMAGES / "sources.json"
WIDTH: Final = 720  # pixels
ADAPTIVE_CARDS: Final = "adaptivecards.min.js"  # lies beside the page

_STYLE: Final = """
body { margin: 0; padding: 16px; font: 14px/1.45 "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #1f2328;
  background: #fff; overflow: hidden }
pre, code { font: 12px/1.4 "DejaVu Sans Mono", monospace; background: #f3f4f6; border-radius: 3px }
code { padding: 1px 3px } pre { padding: 8px; margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere }
.text { margin: 2px 0 6px; white-space: pre-wrap } small { color: #656d76 } a { color: #0550ae }
.bar { border-left: 4px solid #cf222e; padding: 4px 0 4px 12px }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; margin: 4px 0 }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #d8dee4; padding: 4px 8px 4px 0;
  vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere } td:first-child { color: #656d76; width: 120px }
.label { display: inline-block; border: 1px solid #d8dee4; border-radius: 3px; padding: 0 6px; margin: 0 4px 4px 0 }
.bubble { background: #eceef1; border-radius: 14px; padding: 10px 14px; max-width: 420px; white-space: pre-wrap }
"""
_CARD: Final = """<div id="card"></div><script src="{script}"></script><script>
AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {{
  const plain = document.createElement("i");
  plain.textContent = text.replace(/\\\\([^A-Za-z0-9\\s])/g, "$1");
  result.outputHtml = plain.innerHTML;
  result.didProcess = true;
}};
const card = new AdaptiveCards.AdaptiveCard();
card.hostConfig = new AdaptiveCards.HostConfig({{fontFamily: "DejaVu Sans, Noto Color Emoji"}});
card.parse({card});
document.getElementById("card").appendChild(card.render());
</script><style>.ac-richTextBlock {{ white-space: pre-wrap }}
.ac-pushButton {{ border: 1px solid #d8dee4; background: #fff; padding: 6px 12px }}</style>"""
# Of Slack's, Google Chat's and Mattermost's ways to mark text, and Discord's: what our renderers use.
_MARK: Final = re.compile(
    r"```\n?(?P<pre>.*?)\n?```|`(?P<code>[^`\n]+)`"
    r"|<(?P<url>https?://[^|>\s]+)\|(?P<title>[^>]+)>|\[(?P<name>[^\]]+)\]\(<?(?P<href>https?://[^)>\s]+)>?\)"
    r"|(?P<star>\*\*|\*)(?P<bold>[^*\n]+)(?P=star)|\\(?P<plain>[^A-Za-z0-9\s])",
    re.DOTALL,
)


def page(kind: str) -> str:
    """The page of a kind: the same text whenever it is made of the same message."""
    if kind == "email":
        return email_content(make(), "").html
    head = f'<!doctype html><meta charset="utf-8"><title>{kind}</title><style>{_STYLE}</style>'
    return head + _LAYOUTS[kind](_body(kind))


def fingerprint(kind: str) -> str:
    """What tells whether a picture shows the page as it would be made now."""
    return hashlib.sha256(page(kind).encode()).hexdigest()


@cache
def _body(kind: str) -> Any:
    found = KINDS[kind]
    assert isinstance(found, HttpKind), kind
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme_corp", kind: found.example})
    target = Layers(Layer(spec, OrgSecrets(None, {})), None).target(kind)
    body = found.request(make(), target, Attempt("uid-1.x", now=1_795_407_342.0)).body.decode()
    return json.loads(body) if body[0] in "{[" else {name: values[0] for name, values in parse_qs(body).items()}


# ---------------------------------------------------------------- parts of a page


def _marked(text: str) -> str:
    """A marked text as HTML."""
    made, at = "", 0
    for found in _MARK.finditer(text):
        made += escape(text[at : found.start()], quote=False)
        at = found.end()
        group = found.groupdict()
        link = group["url"] or group["href"]
        if group["pre"] is not None:
            made += f"<pre>{escape(group['pre'])}</pre>"
        elif group["code"]:
            made += f"<code>{escape(group['code'])}</code>"
        elif link:
            made += _link(group["title"] or group["name"], link)
        else:
            made += f"<b>{escape(group['bold'])}</b>" if group["bold"] else escape(group["plain"])
    made += escape(text[at:], quote=False)
    return f'<div class="text">{made}</div>'.replace("</pre>\n", "</pre>").replace("\n<pre>", "<pre>")


def _link(title: str, url: str) -> str:
    return f'<a href="{escape(url)}">{escape(title)}</a>'


def _fields(pairs: Iterable[tuple[str, str]]) -> str:
    return f'<div class="fields">{"".join(f"<div><b>{escape(a)}</b><br>{_marked(b)}</div>" for a, b in pairs)}</div>'


def _beside(*parts: str) -> str:
    return f'<div class="bar">{"".join(parts)}</div>'


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"


def _table(rows: Mapping[str, Any]) -> str:
    def cell(value: Any) -> str:
        return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), quote=False)

    return f"<table>{''.join(f'<tr><td>{escape(name)}</td><td>{cell(rows[name])}</td></tr>' for name in rows)}</table>"


# ---------------------------------------------------------------- the kinds


def _slack(body: Any) -> str:
    (attachment,) = body["attachments"]
    parts = []
    for block in attachment["blocks"]:
        texts = [field["text"].partition("\n") for field in block.get("fields") or ()]
        parts.append(_fields((name.strip("*"), value) for name, _, value in texts) if texts else "")
        parts += [_marked(block["text"]["text"].replace("&amp;", "&"))] if "text" in block else []
        parts += [_small(element["text"]) for element in block.get("elements") or ()]
    return _marked(body["text"]) + _beside(*parts)


def _mattermost(body: Any) -> str:
    (attachment,) = body["attachments"]
    fields = _fields((field["title"], field["value"]) for field in attachment["fields"])
    return _marked(body["text"]) + _beside(_marked(attachment["text"]), fields, _small(attachment["footer"]))


def _discord(body: Any) -> str:
    (embed,) = body["embeds"]
    fields = _fields((field["name"], field["value"]) for field in embed["fields"])
    title, footer = f"<b>{escape(embed['title'])}</b>", _small(embed["footer"]["text"])
    return _marked(body["content"]) + _beside(title, _marked(embed["description"]), fields, footer)


def _teams(body: Any) -> str:
    card = json.dumps(body["attachments"][0]["content"], ensure_ascii=False).replace("<", "\\u003c")
    return _CARD.format(script=ADAPTIVE_CARDS, card=card)


def _telegram(body: Any) -> str:
    text, made, at = body["text"].encode("utf-16-le"), "", 0
    tags = {"bold": "b", "code": "code", "pre": "pre"}
    for entity in body["entities"]:
        begin, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
        inner = text[begin:end].decode("utf-16-le")
        tag = tags.get(entity["type"])
        made += escape(text[at:begin].decode("utf-16-le"), quote=False)
        made += f"<{tag}>{escape(inner)}</{tag}>" if tag else _link(inner, entity["url"])
        at = end
    made += escape(text[at:].decode("utf-16-le"), quote=False)
    return f'<div class="text">{made}</div>'.replace("</pre>\n", "</pre>").replace("\n<pre>", "<pre>")


def _pagerduty(body: Any) -> str:
    payload = body["payload"]
    known = {name: payload[name] for name in ("severity", "source", "group", "class")}
    links = "".join(f"<p>{_link(link['text'], link['href'])}</p>" for link in body["links"])
    return f"<h3>{escape(payload['summary'])}</h3>" + _table(known | payload["custom_details"]) + links


def _jsm(body: Any) -> str:
    rows = {name: body[name] for name in ("priority", "entity", "source")} | body["details"]
    tags = "".join(f'<span class="label">{escape(tag)}</span>' for tag in body["tags"])
    return f"<h3>{escape(body['message'])}</h3>{tags}{_table(rows)}<pre>{escape(body['description'])}</pre>"


def _alertmanager(body: Any) -> str:
    (alert,) = body
    labels = "".join(f'<span class="label">{escape(f"{a}={b}")}</span>' for a, b in alert["labels"].items())
    return labels + _table(alert["annotations"]) + f"<p>{_link('generatorURL', alert['generatorURL'])}</p>"


def _webhook(body: Any) -> str:
    return f"<pre>{escape(json.dumps(body, indent=2, ensure_ascii=False), quote=False)}</pre>"


_LAYOUTS: Final = {
    "slack": _slack,
    "mattermost": _mattermost,
    "discord": _discord,
    "teams": _teams,
    "telegram": _telegram,
    "pagerduty": _pagerduty,
    "jsm": _jsm,
    "alertmanager": _alertmanager,
    "webhook": _webhook,
    "googleChat": lambda body: _marked(body["text"]),
    "sms": lambda body: f'<div class="bubble">{escape(body["Body"], quote=False)}</div>',
}

PICTURED: Final = tuple(kind for kind in KINDS if kind == "email" or kind in _LAYOUTS)
"""The kinds whose pages have a picture: those that are laid out here."""
