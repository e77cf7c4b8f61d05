"""Say what is installed, which accelerators exist, and what is missing for what."""

from __future__ import annotations

import click

from audioseg_xai.cli import command
from audioseg_xai.doctor import Check, examine, missing_extras
from audioseg_xai.errors import AudiosegError


@command()
def cli() -> None:
    """Say what is installed, what works and what is missing for what.

    Exit code 0 when recordings can be segmented and explained, else 1.
    """
    checks, section = [], ""
    for check in examine():
        if check.section != section:
            section = check.section
            click.secho(section, bold=True)
        click.echo(_line(check))
        checks.append(check)
    for extra, purpose in missing_extras(checks).items():
        click.echo(f"\nFor {purpose}: pip install 'audioseg-xai[{extra}]'")
    broken = [check.name for check in checks if check.needed and not check.ok]
    if broken:
        raise AudiosegError(f"segmenting and explaining cannot work: {', '.join(broken)}")
    click.echo("\nSegmenting and explaining work.")


def _line(check: Check) -> str:
    mark = click.style("ok", fg="green") if check.ok else click.style("--", fg="red")
    return f"  {mark} {check.name:<20} {check.detail}"


if __name__ == "__main__":
    cli()
