"""The kinds of metadata files (CSV): how each is known, and what its columns and words mean.

A diagnosis that a format has no code for stays as it is: the reject names it, and
`metadata.labels` may give it a class.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from skinclf.config.schema import METADATA_COLUMNS
from skinclf.spec.taxonomy import Taxonomy

Fields = dict[str, str | None]
"""A row by column: names in lower case, values without surrounding blanks, None for empty."""

Row = dict[str, Any]
"""METADATA_COLUMNS of one row: `age` in years as float, the rest as text; None if there is none.
Formats add `words`: the diagnosis as the table has it, the most specific word first."""


class Format(NamedTuple):
    """A kind of metadata file: known by columns that no other kind has (in lower case)."""

    name: str
    id_column: str
    columns: Callable[[Taxonomy], tuple[str, ...]]  # those that it needs besides
    read: Callable[[Fields, Taxonomy], Row]

    def required(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """The columns by which such a file is recognized."""
        return self.id_column, *self.columns(taxonomy)


OPTIONAL = (
    *("lesion_id", "dx_type", "age", "sex", "localization", "dataset", "patient_id"),
    *("age_approx", "anatom_site_general", "diagnosis_confirm_type"),
    *("anatom_site_general_challenge", "gender", "region", "biopsed", "location"),
)
"""Columns that are used where there are any, in lower case."""


def _row(*words: str | None, **columns: str | None) -> Row:
    """METADATA_COLUMNS with these, and `words`; the others are None."""
    return dict.fromkeys(METADATA_COLUMNS) | columns | {"words": words}


# HAM10000, and files with [metadata.columns]


def _ham10000(fields: Fields, _taxonomy: Taxonomy) -> Row:
    return {name: fields.get(name) for name in METADATA_COLUMNS}


# The ISIC archive

CONFIRMATIONS = {  # in lower case
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
    "confocal microscopy with consensus dermoscopy": "confocal",
}
"""`diagnosis_confirm_type` of the ISIC archive → HAM10000's `dx_type`."""

ISIC_DIAGNOSES = {
    "nevus": "nv",
    "basal cell carcinoma": "bcc",
    "dermatofibroma": "df",
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    # The archive's name of HAM10000's own intraepithelial carcinomas; invasive ones have another.
    "squamous cell carcinoma, nos": "akiec",
}
"""`diagnosis_3` of the ISIC archive's export in lower case → code. A word in neither table has no
code."""

ISIC_GROUPS = {
    "malignant melanocytic proliferations (melanoma)": "mel",
    "benign soft tissue proliferations - vascular": "vasc",
}
"""`diagnosis_2` of the ISIC archive's export in lower case → code, whatever `diagnosis_3` is."""


def _isic_export(fields: Fields, _taxonomy: Taxonomy) -> Row:
    codes = (
        ISIC_GROUPS.get(lower(fields["diagnosis_2"])),
        ISIC_DIAGNOSES.get(lower(fields["diagnosis_3"])),
    )
    # A diagnosis without a code is named in the reject.
    words = [fields[f"diagnosis_{level}"] for level in (3, 2, 1)]
    return _row(
        *words,
        lesion_id=fields.get("lesion_id"),
        image_id=fields["isic_id"],
        dx=next(filter(None, (*codes, *words)), None),
        dx_type=CONFIRMATIONS.get(lower(fields.get("diagnosis_confirm_type"))),
        age=fields.get("age_approx"),
        sex=fields.get("sex"),
        localization=fields.get("anatom_site_general"),
    )


# The ISIC challenges


def _isic_2018(fields: Fields, taxonomy: Taxonomy) -> Row:
    """One column a class, 1 where it is the diagnosis; no lesions, no patients."""
    return _row(image_id=fields["image"], dx=_marked(fields, taxonomy.codes))


ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
"""Its classes: Combalia et al., arXiv 1908.02288, and the challenge's evaluation, UNK."""


def _isic_2019(fields: Fields, taxonomy: Taxonomy) -> Row:
    """One column a class; lesions are in another file, and are read where they were added."""
    word = _marked(fields, ISIC_2019)
    return _row(
        word,
        lesion_id=fields.get("lesion_id"),
        image_id=fields["image"],
        dx=_keratosis(word, "AK", taxonomy),
        age=fields.get("age_approx"),
        sex=fields.get("sex"),
        localization=fields.get("anatom_site_general"),
    )


ISIC_2020_DIAGNOSES = {
    "nevus": "nv",
    "melanoma": "mel",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichenoid keratosis": "bkl",
}
"""`diagnosis` → code; "unknown", "lentigo NOS", "cafe-au-lait macule" and "atypical melanocytic
proliferation" have none."""


def _isic_2020(fields: Fields, _taxonomy: Taxonomy) -> Row:
    """Its first version has no lesions; the second has."""
    return _row(
        *(fields["diagnosis"], fields["benign_malignant"]),
        lesion_id=fields.get("lesion_id"),
        image_id=fields["image_name"],
        dx=_coded(fields["diagnosis"], ISIC_2020_DIAGNOSES),
        age=fields.get("age_approx"),
        sex=fields.get("sex"),
        localization=fields.get("anatom_site_general_challenge"),
    )


# Others


def _bcn20000(fields: Fields, taxonomy: Taxonomy) -> Row:
    """`bcn_20k_train.csv`: ISIC 2019's classes by name (Hernández-Pérez et al., Sci. Data 2024)."""
    return _row(
        fields["diagnosis"],
        lesion_id=fields.get("lesion_id"),
        image_id=fields["bcn_filename"],
        dx=_keratosis(fields["diagnosis"], "AK", taxonomy),
        age=fields.get("age_approx"),
        sex=fields.get("sex"),
        localization=fields.get("anatom_site_general"),
    )


PAD_UFES_20_DIAGNOSES = {"nev": "nv", "sek": "bkl"}
"""`diagnostic` → code; ACK is a keratosis (see _keratosis), and SCC has none: it holds invasive
carcinomas, too."""


def _pad_ufes_20(fields: Fields, taxonomy: Taxonomy) -> Row:
    """Photographs of smartphones (Pacheco et al., Data in Brief 32, 2020)."""
    # Its lesions are numbers, which another archive has, too.
    names = (fields.get("patient_id"), fields.get("lesion_id"))
    return _row(
        fields["diagnostic"],
        lesion_id="_".join(names) if all(names) else None,  # type: ignore[arg-type]
        image_id=fields["img_id"],
        dx=_keratosis(_coded(fields["diagnostic"], PAD_UFES_20_DIAGNOSES), "ACK", taxonomy),
        dx_type="histo" if lower(fields.get("biopsed")) == "true" else None,
        age=fields.get("age"),
        sex=fields.get("gender"),
        localization=fields.get("region"),
    )


DERM7PT_DIAGNOSES = {
    "basal cell carcinoma": "bcc",
    **dict.fromkeys(
        (
            *("nevus", "blue nevus", "clark nevus", "combined nevus", "congenital nevus"),
            *("dermal nevus", "recurrent nevus", "reed or spitz nevus"),
        ),
        "nv",
    ),
    **dict.fromkeys(
        (
            *("melanoma", "melanoma (in situ)", "melanoma (less than 0.76 mm)"),
            *("melanoma (0.76 to 1.5 mm)", "melanoma (more than 1.5 mm)", "melanoma metastasis"),
        ),
        "mel",
    ),
    "dermatofibroma": "df",
    "seborrheic keratosis": "bkl",
    "vascular lesion": "vasc",
}
"""`diagnosis` → code, in the groups of Kawahara et al., IEEE JBHI 2018, table 1; "lentigo",
"melanosis" and "miscellaneous" have none."""


def _derm7pt(fields: Fields, _taxonomy: Taxonomy) -> Row:
    """A row is a lesion: of its two photographs the one through the dermatoscope is read."""
    return _row(
        fields["diagnosis"],
        image_id=fields["derm"],
        dx=_coded(fields["diagnosis"], DERM7PT_DIAGNOSES),
        sex=fields.get("sex"),
        localization=fields.get("location"),
    )


FORMATS = [
    Format("HAM10000", "image_id", lambda _: ("dx",), _ham10000),
    Format(
        "ISIC archive export",
        "isic_id",
        lambda _: ("diagnosis_1", "diagnosis_2", "diagnosis_3"),
        _isic_export,
    ),
    # Before 2018, whose columns are those of the classes: a few of 2019's, maybe.
    Format(
        "ISIC 2019 ground truth",
        "image",
        lambda _: tuple(name.lower() for name in ISIC_2019),
        _isic_2019,
    ),
    Format(
        "ISIC 2018 ground truth",
        "image",
        lambda taxonomy: tuple(code.lower() for code in taxonomy.codes),
        _isic_2018,
    ),
    Format(
        "ISIC 2020 ground truth",
        "image_name",
        lambda _: ("diagnosis", "benign_malignant"),
        _isic_2020,
    ),
    Format("BCN20000", "bcn_filename", lambda _: ("diagnosis",), _bcn20000),
    Format("PAD-UFES-20", "img_id", lambda _: ("diagnostic",), _pad_ufes_20),
    Format("Derm7pt", "derm", lambda _: ("clinic", "diagnosis"), _derm7pt),
]
"""The registry: another kind of metadata file is one more entry."""

MAPPED = Format("[metadata.columns]", "image_id", lambda _: ("dx",), _ham10000)
"""A file of no known format whose columns the settings name."""


def lower(text: str | None) -> str:
    """In lower case; "" for None."""
    return (text or "").lower()


def number(text: str | None) -> float | None:
    """A number; None for any other text."""
    if text is None or "_" in text:  # which Python would take for 45 in 4_5
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _coded(word: str | None, codes: dict[str, str]) -> str | None:
    """The code of a word, whatever its case; else the word."""
    return codes.get(lower(word), word)


def _marked(fields: Fields, names: tuple[str, ...]) -> str | None:
    """The one column of `names` that is 1; None if none or several are."""
    marked = [name for name in names if number(fields[name.lower()]) == 1]
    return marked[0] if len(marked) == 1 else None


def _keratosis(word: str | None, name: str, taxonomy: Taxonomy) -> str | None:
    """Actinic keratosis, called `name`, is akiec unless there is a class of that name."""
    if lower(word) != name.lower() or name.lower() in taxonomy.words:
        return word
    return "akiec"
