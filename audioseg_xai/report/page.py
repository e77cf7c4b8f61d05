"""The page of a recording: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import jinja2
from jinja2.utils import htmlsafe_json_dumps

from audioseg_xai.version import __version__

Media = Literal["embed", "link", "none"]

SCRIPTS = (
    "wavesurfer.min.js",
    "data.js",
    "text.js",
    "drawing.js",
    "player.js",
    "timeline.js",
    "lists.js",
    "evidence.js",
    "classes.js",
    "page.js",
)
"""In the order in which a browser runs them: each uses what those before it define."""

_ASSETS = resources.files("audioseg_xai") / "assets" / "report"


def render_page(
    report: Mapping[str, Any],
    *,
    media: Media,
    audio: str = "",
    sounds: list[dict[str, Any]] | None = None,
) -> str:
    """Return the page of a recording.

    Parameters
    ----------
    report : mapping
        What it shows; must serialise to JSON. Its ``uri`` names the page.
    media : str
        How it gets the sound: ``embed``, ``link`` or ``none``.
    audio : str
        The sound in lines of base64, when it is embedded.
    sounds : list of dict, optional
        Parts of segments to listen to.

    Returns
    -------
    str
        HTML. All names in it are escaped, and a content security policy forbids the browser to
        run any script but ours, and to load anything from elsewhere.
    """
    scripts, style, data = [_asset(name) for name in SCRIPTS], _asset("page.css"), _json(report)
    # Nobody who writes into the page knows the nonce: it depends on all that is in it.
    nonce = hashlib.sha256(f"{style}{data}".encode()).hexdigest()[:32]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return template.from_string(_asset("page.html")).render(
        uri=report["uri"],
        report=data,
        sounds=_json(sounds or []),
        audio=audio,
        scripts=scripts,
        style=style,
        nonce=nonce,
        policy=_policy(scripts, nonce, media),
        version=__version__,
        licences=_asset("wavesurfer.LICENSE"),
    )


def _json(content: Any) -> str:
    """Return JSON without <, > and &: no text in it can end the element that holds it."""
    return str(htmlsafe_json_dumps(content, allow_nan=False, separators=(",", ":")))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _policy(scripts: list[str], nonce: str, media: Media) -> str:
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    sources = {"embed": "blob:", "link": "blob: 'self' file:", "none": "blob:"}[media]
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'nonce-{nonce}'; "
        f"img-src data:; media-src {sources}; base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
