"""The seven diagnoses, in the one order that every table, model and figure uses."""

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""Alphabetical; `label` n means CODES[n]. The order of DermaMNIST too."""

NAMES = {
    "akiec": "Actinic keratosis / intraepithelial carcinoma",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesion",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
"""Tschandl, Rosendahl, Kittler, Sci. Data 5:180161 (2018), table 1."""

ISIC_DIAGNOSES = {
    "Nevus": "nv",
    "Basal cell carcinoma": "bcc",
    "Dermatofibroma": "df",
    "Pigmented benign keratosis": "bkl",
    "Seborrheic keratosis": "bkl",
    "Solar lentigo": "bkl",
    "Lichen planus like keratosis": "bkl",
    "Solar or actinic keratosis": "akiec",
    "Squamous cell carcinoma in situ": "akiec",
    # The archive's name of HAM10000's own intraepithelial carcinomas; invasive ones have another.
    "Squamous cell carcinoma, NOS": "akiec",
}
"""`diagnosis_3` of the ISIC archive's export → code. What stands in neither table has no code."""

ISIC_GROUPS = {
    "Malignant melanocytic proliferations (Melanoma)": "mel",
    "Benign soft tissue proliferations - Vascular": "vasc",
}
"""`diagnosis_2` of the ISIC archive's export → code, whatever stands in `diagnosis_3`."""

MAJORITY = "nv"
"""The class that two thirds of HAM10000 have: always answering it is the baseline to beat."""


def label_of(code: str) -> int:
    """The integer label (0–6) of a diagnosis code; ValueError for an unknown code."""
    return CODES.index(code)


def probability_column(code: str) -> str:
    """The name of the column that holds a class's probability, such as `probability_mel`."""
    return f"probability_{code}"
