import pytest
from pydantic import ValidationError

from skinclf.spec.rejects import REASONS, RejectedImage
from skinclf.spec.taxonomy import HAM10000, Taxonomy


def test_ham10000_has_its_seven_classes_with_their_names() -> None:
    assert HAM10000.codes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert HAM10000.name_of("mel") == "Melanoma"
    assert HAM10000.label_of("nv") == 5


def test_a_code_is_known_whatever_its_case_and_another_text_stays() -> None:
    own = Taxonomy(codes=("Mole", "scar"), majority="Mole", screened="")
    assert [own.code_of(text) for text in ("MOLE", "Scar", "wart", None)] == [
        *("Mole", "scar", "wart", None)
    ]
    assert own.name_of("Mole") == "Mole"
    names = ("Na\u0308vus ", "scar")  # as macOS writes it, and with a blank
    own = Taxonomy(codes=("Mole", "scar"), names=names, majority="Mole", screened="")
    assert [own.code_of(text) for text in ("n\u00e4vus", " NA\u0308VUS")] == ["Mole", "Mole"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes": ["a"]}, "at least 2 items"),
        ({"codes": ["a", "A"]}, "each class once is expected"),
        ({"codes": ["a b", "c"]}, "1 to 32 letters"),
        ({"codes": ["image", "b"]}, "image is the name of a column"),
        ({"codes": ["a", "b"], "names": ["one"]}, "one for each of the 2 codes is expected"),
        ({"codes": ["a", "b"]}, "majority: one of the codes a, b is expected, got 'nv'"),
        ({"codes": ["a", "b"], "majority": "a"}, 'screened: one of the codes a, b or ""'),
    ],
)
def test_classes_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Taxonomy.model_validate(settings)


def test_a_reject_has_one_of_the_known_reasons() -> None:
    for reason in REASONS:
        assert RejectedImage(reason, "detail").reason == reason
    with pytest.raises(ValueError, match="vanishd is no reason of a reject"):
        RejectedImage("vanishd", "gone")
