"""The classes: codes in the one order that every table, model and figure of a dataset has."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from skinclf.system.text import comparable

CODE = re.compile(r"[A-Za-z0-9_]{1,32}")


def _checked_code(code: str) -> str:
    if not CODE.fullmatch(code):
        raise ValueError(
            "a code has 1 to 32 letters (A to Z), digits and _, since columns are called by it. "
            "What a table or a folder calls the class goes into [metadata.labels], and what people "
            "call it into classes.names"
        )
    return code


Code = Annotated[str, AfterValidator(_checked_code)]


class Taxonomy(BaseModel):
    """The classes of a dataset and of the models trained on it; by default HAM10000's.

    `label` n means codes[n]. Codes and names are compared without case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    codes: Annotated[tuple[Code, ...], Field(min_length=2)] = (
        *("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    )
    """Alphabetical by default; the order of DermaMNIST, too."""

    names: tuple[str, ...] = ()
    """In the order of the codes; none: HAM10000's names where the code is one of its, else the
    code."""

    majority: str = "nv"
    """Always predicting it is the baseline: two thirds of HAM10000 are nv."""

    screened: str = "mel"
    """The class that is separated from all others at chosen sensitivities; "": none."""

    def __len__(self) -> int:
        return len(self.codes)

    def label_of(self, code: str) -> int:
        """The integer label of a code; ValueError for an unknown code."""
        return self.codes.index(code)

    def code_of(self, text: str | None) -> str | None:
        """The code that a text is or names; any other text as it is. Case, blanks around it and the
        way in which accents are coded do not matter.
        """
        return self.words.get(comparable(text), text) if text is not None else None

    @cached_property
    def words(self) -> dict[str, str]:
        """Codes and names in lower case → code; where a name is another class's code, the latter.

        A class whose name is also the name of another has its code alone.
        """
        named = Counter(comparable(self.name_of(code)) for code in self.codes)
        names = {comparable(self.name_of(code)): code for code in self.codes}
        names = {name: code for name, code in names.items() if named[name] == 1}
        return names | {comparable(code): code for code in self.codes}

    def name_of(self, code: str) -> str:
        """What a class is called in words."""
        named = dict(zip(self.codes, self.names, strict=False))
        return named.get(code) or HAM10000_NAMES.get(code, code)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len({code.lower() for code in self.codes}) < len(self.codes):
            raise ValueError("codes: each class once is expected, whatever the case of letters")
        if self.names and len(self.names) != len(self.codes):
            raise ValueError(
                f"names: one for each of the {len(self.codes)} codes is expected, or none at all; "
                f"got {len(self.names)}"
            )
        taken = [code for code in self.codes if code.lower() in COLUMNS]
        if taken:
            raise ValueError(f'codes: {taken[0]} is the name of a column of score.format = "isic"')
        known = ", ".join(self.codes)
        if self.majority not in self.codes:
            raise ValueError(
                f"majority: one of the codes {known} is expected, got {self.majority!r}"
            )
        if self.screened and self.screened not in self.codes:
            raise ValueError(
                f'screened: one of the codes {known} or "" is expected, got {self.screened}'
            )
        return self


COLUMNS = ("image",)
"""That a class can't be called."""

HAM10000_NAMES = {
    "akiec": "Actinic keratosis / intraepithelial carcinoma",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesion",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
"""Tschandl, Rosendahl, Kittler, Sci. Data 5:180161 (2018), table 1."""

HAM10000 = Taxonomy()


PROBABILITY = "probability_"
"""How the names of columns with a class's probability begin."""


def probability_column(code: str) -> str:
    """The name of the column that holds a class's probability, such as `probability_mel`."""
    return f"{PROBABILITY}{code}"


def codes_of(columns: Iterable[str]) -> list[str]:
    """The classes whose probabilities a table has, in its order, by the names of its columns."""
    return [name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY)]
