"""The command itself: its name, its version, and the commands that are added to it."""

from typing import Annotated

import typer

from skinclf import __version__

app = typer.Typer(
    name="skinclf",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train and evaluate a skin lesion classifier on Spark, and score image archives with it.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"skinclf {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of the command itself."""
