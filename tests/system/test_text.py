import pytest

from skinclf.reporting.figures.counts import bar_figure
from skinclf.reporting.pages import png, render
from skinclf.system.text import harmless_cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ekzem é 皮膚.jpg", "Ekzem é 皮膚.jpg"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("two\nlines", r"two\x0alines"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # turns the direction of what follows
        ("\udcff", r"\udcff"),  # a byte that is not UTF-8, as Python has it
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert harmless_cell(text).startswith("'")
    assert harmless_cell("a" + text).startswith("a")


def test_names_in_pages_are_neither_markup_nor_commands() -> None:
    page = render(
        "replication.html.j2",
        {
            "title": "<script>alert(1)</script> \x1b[31m",
            "version": "1",
            "columns": ("", "x"),
            "rows": [("a\u202eb", "c")],
            "figures": [],
            "protocols": [],
        },
    )
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31m" in page
    assert "a\\u202eb" in page


def test_names_in_figures_are_no_mathematics() -> None:
    """Between two $ matplotlib reads mathematics, and this is none."""
    figure = bar_figure("Where", {r"$\frac{$": 3, "back": 4}, "localization")
    assert png(figure).startswith(b"\x89PNG")


def test_the_terminal_is_not_steered_by_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    from skinclf.cli import terminal

    terminal.say("error: a\x1b[2Jb\nsecond line")
    assert "a\\x1b[2Jb\nsecond line" in capsys.readouterr().err
    terminal.print_table("t", ("name", "n"), [("[red]x\x1b[2J", 1)])
    printed = capsys.readouterr().out
    assert "[red]x\\x1b[2J" in printed
