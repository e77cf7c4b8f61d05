#!/usr/bin/env python3
"""Print the training sources of a pool as JSON, a row a source, for the card of a model.

card_sources.py POOL/manifest.json >sources.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(manifest: Path) -> None:
    """Print the rows of the sources that training recordings are made of."""
    rows = [_row(entry) for entry in json.loads(manifest.read_text(encoding="utf-8"))]
    print(json.dumps([row for row in rows if row["hours"]], indent=1, ensure_ascii=False))


def _row(entry: dict[str, Any]) -> dict[str, str]:
    parts = [part for part in entry["parts"] if part["split"] == "train"]
    return {
        "source": entry["source"],
        "version": (entry["package"] or {}).get("version", ""),
        "licence": entry["licence"],
        "attribution": entry["attribution"],
        "hours": ", ".join(f"{part['kind']} {part['hours']:.2f}" for part in parts),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} MANIFEST.json")
    main(Path(sys.argv[1]))
