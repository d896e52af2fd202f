"""`skinclf config …`: commands that look at settings and run no stage."""

import tomllib

import typer

from skinclf.cli import options
from skinclf.cli.options import Assignments, ConfigFile, settings_of
from skinclf.cli.terminal import print_json

config_commands = typer.Typer(no_args_is_help=True, help="Look at settings.")


@config_commands.command()
def show(
    config: ConfigFile = None, assignments: Assignments = None, as_json: options.Json = False
) -> None:
    """Print all settings, and where each was given that is no default.

    **Output:** TOML that `--config` reads, with secrets left out.

    **Example:** `skinclf config show --config conf/best.toml --set train.epochs=5`
    """
    settings = settings_of(config, assignments)
    from skinclf.config.loader import origins_of, to_toml

    text, origins = to_toml(settings), origins_of(config, assignments or ())
    if as_json:
        print_json({"settings": tomllib.loads(text), "origins": origins})
        return
    section = ""
    for line in text.splitlines():
        section = line.strip("[]") if line.startswith("[") else section
        name = line.partition(" = ")[0].strip('"')
        origin = origins.get(f"{section}.{name}")
        print(f"{line}  # {origin}" if origin else line)


@config_commands.command()
def schema() -> None:
    """Print the JSON Schema of a config file: editors complete and check the TOML by it.

    **Example:** `skinclf config schema > skinclf.schema.json`, and `#:schema skinclf.schema.json`
    as the first line of the config.
    """
    from skinclf.config.remarks import json_schema

    print_json(json_schema())
