"""Put the outputs of `segment --job` or `explain --job` together."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import PARTLY, command, log
from audioseg_xai.recordings import Recording, check_outputs


@command("join")
@click.argument("parts", nargs=-1, required=True, type=Path, metavar="SHARD...")
@click.option("--output", type=Path, metavar="FILE", help="Write here; else RTTM to stdout.")
@click.option("--list-whole", is_flag=True, help="Only print which of them are whole.")
def cli(parts: tuple[Path, ...], output: Path | None, list_whole: bool) -> None:
    """Put the outputs of segment or explain --job together: what one call would have made.

    After "xai-segment segment --list all.txt --job 1/3 --rttm part.1.rttm", and the same for 2/3
    and 3/3, on any machines: "xai-segment join part.*.rttm --output all.rttm".

    SHARD is RTTM or an explanation archive (.h5), with its record SHARD.json beside it, which tells
    what recordings it covers and whether it is whole. Nothing is written when a shard is missing,
    is not whole, or was made of other recordings or with another model. Recordings that failed
    are listed, and the exit code is 3.
    """
    from audioseg_xai.joining import join, whole

    if list_whole:
        for path in whole(parts):
            click.echo(path)
        return
    check_outputs([Recording(str(path), str(path)) for path in parts], [output])
    failed = join(parts, output)
    if failed:
        log.error(f"{len(failed)} recordings failed, and are not in it: {', '.join(failed)}")
        click.get_current_context().exit(PARTLY)


if __name__ == "__main__":
    cli()
