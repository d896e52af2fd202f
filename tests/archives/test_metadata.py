import os
from pathlib import Path
from typing import Any

import pytest

from skinclf.archives.metadata import Malformed, check_metadata_file, read_metadata
from skinclf.archives.names import image_id_of
from skinclf.config.schema import MetadataConfig
from skinclf.errors import ConfigError, MetadataError
from skinclf.spec.taxonomy import HAM10000, Taxonomy

KAGGLE = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def read(tmp_path: Path, text: str | bytes) -> list[Any]:
    return list(read_metadata(written(tmp_path, text), HAM10000))


def written(tmp_path: Path, text: str | bytes) -> str:
    file = tmp_path / "metadata.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def test_kaggle_s_format_lacks_the_column_dataset(tmp_path: Path) -> None:
    (row,) = read(tmp_path, KAGGLE + "HAM_1,ISIC_1,nv,histo,45.0,male,back\n")
    assert row == {
        "lesion_id": "HAM_1",
        "image_id": "ISIC_1",
        "dx": "nv",
        "dx_type": "histo",
        "age": 45.0,
        "sex": "male",
        "localization": "back",
        "dataset": None,
    }


def test_columns_are_found_by_name_in_any_order_and_case(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "DX,more,Image_ID , dataset,lesion_id\nmel,x,ISIC_2,rosendahl,HAM_2\n")
    assert row["dx"] == "mel"
    assert (row["image_id"], row["dataset"], row["lesion_id"]) == ("ISIC_2", "rosendahl", "HAM_2")


@pytest.mark.parametrize("age", ["", "old", "NaN", "-1", "999", "Infinity", "4_5"])
def test_an_age_that_is_no_number_of_years_is_unknown(tmp_path: Path, age: str) -> None:
    (row,) = read(tmp_path, KAGGLE + f"L1,I1,nv,histo,{age},male,back\n")
    assert row["age"] is None


@pytest.mark.parametrize(("age", "years"), [("85+", 85), ("45,5", 45.5), ("0", 0)])
def test_an_age_may_have_a_comma_or_be_the_oldest(tmp_path: Path, age: str, years: float) -> None:
    text = KAGGLE.replace(",", ";") + f"L1;I1;nv;Histo;{age};male;Back\n"
    (row,) = read(tmp_path, text)
    assert (row["age"], row["localization"], row["dx_type"]) == (years, "back", "histo")


@pytest.mark.parametrize("dx", ["NV", "Nv", " nv ", "nv"])
def test_codes_are_compared_without_case_and_blanks(tmp_path: Path, dx: str) -> None:
    (row,) = read(tmp_path, KAGGLE + f"L1, I1 ,{dx},histo,45,Male,back\n")
    assert (row["dx"], row["image_id"], row["sex"]) == ("nv", "I1", "male")


def test_letters_with_accents_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    """As one character, or as two, which is how macOS names files."""
    one, two = "me\u0301lanome", "m\u00e9lanome"
    own = MetadataConfig(labels={f" {one} ": "mel"})
    path = written(tmp_path, KAGGLE + f"L1,{one}.jpg,{two},histo,45,male,back\n")
    rows: list[Any] = list(read_metadata(path, HAM10000, own))
    (row,) = rows
    assert (row["dx"], row["image_id"]) == ("mel", image_id_of(f"deep/{one}.jpg"))
    assert row["image_id"] == two


def test_a_diagnosis_without_a_code_stays_for_the_reject(tmp_path: Path) -> None:
    (row,) = read(tmp_path, KAGGLE + "L1,I1,Wart,histo,45,male,back\n")
    assert row["dx"] == "Wart"


def test_quoted_fields_hold_line_breaks_delimiters_and_quotes(tmp_path: Path) -> None:
    text = (
        "lesion_id,image_id,note,dx\n"
        'L1,I1,"first line\nsecond, line",nv\n'
        'L2,I2,"he said ""benign""",mel\n'
        "L3,I3,3.5,df\n"
    )
    rows = read(tmp_path, text)
    assert [(row["image_id"], row["dx"]) for row in rows] == [
        *(("I1", "nv"), ("I2", "mel"), ("I3", "df")),
    ]


@pytest.mark.parametrize(
    ("beginning", "end", "encoding"),
    [
        ("", "\n", "utf-8"),
        ("\ufeff", "\r\n", "utf-8"),  # as Excel writes it
        ("", "\r", "utf-8"),
        ("\ufeff", "\r\n", "utf-16-le"),
    ],
)
def test_byte_order_marks_and_line_ends(
    tmp_path: Path, beginning: str, end: str, encoding: str
) -> None:
    text = beginning + KAGGLE.replace("\n", end) + f"L1,I1,nv,histo,45,male,back{end}{end}"
    rows = read(tmp_path, text.encode(encoding))
    assert [(row["lesion_id"], row["localization"]) for row in rows] == [("L1", "back")]


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    (row,) = read(tmp_path, (KAGGLE + "L1,I1,df,histo,9,male,foot\n").replace(",", delimiter))
    assert (row["image_id"], row["dx"], row["age"]) == ("I1", "df", 9.0)


def test_rows_with_another_number_of_fields_are_told_with_their_line(tmp_path: Path) -> None:
    text = (
        "lesion_id,image_id,dx\n"
        'L1,I1,"n\nv"\n'
        "L2,I2,nv,more\n"
        "L3\n"
        "\n"
        " , ,\n"
        "L4,,nv\n"
        'L5,"I5"x,nv\n'
        "L6,I6,nv\n"
    )
    rows = read(tmp_path, text)
    assert rows[1:5] == [
        Malformed("I2", "line 4: 4 fields, 3 expected"),
        Malformed(None, "line 5: 1 fields, 3 expected"),
        Malformed(None, "line 8: no image_id"),
        Malformed(None, "line 9: text follows a closing quote (',' expected after '\"')"),
    ]
    assert [row["image_id"] for row in (rows[0], rows[5])] == ["I1", "I6"]


@pytest.mark.parametrize("rest", ['L2,"I2,nv\nL3,I3,nv\n', 'L2,"' + "x" * 200_000])
def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path: Path, rest: str) -> None:
    with pytest.raises(MetadataError, match=r"metadata\.csv: line 3: .*quote missing"):
        read(tmp_path, "lesion_id,image_id,dx\nL1,I1,nv\n" + rest)


def test_bytes_that_are_not_utf_8_are_encoded_as_in_names_of_files(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"lesion_id,image_id,dx\nL\0,caf\xe9,nv\n")
    assert (row["image_id"], row["lesion_id"]) == ("caf%E9", "L\0")


@pytest.mark.parametrize("text", ["", "\n\n", "isic_id,dx\nISIC_1,nv\n", "a;b\n1;2\n"])
def test_a_file_of_no_known_format_is_told_the_known_ones(tmp_path: Path, text: str) -> None:
    with pytest.raises(MetadataError) as error:
        check_metadata_file(written(tmp_path, text), HAM10000)
    told = str(error.value)
    if not text.strip():
        assert "the file is empty" in told
        return
    for name in ("HAM10000 (image_id, dx)", "ISIC archive export", "ISIC 2018"):
        assert name in told


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, KAGGLE) == []


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    for header in ("lesion_id,image_id,dx,DX", "lesion_id,image_id,dx,age,age"):
        with pytest.raises(MetadataError, match=r"has the column (dx|age) more than once"):
            read(tmp_path, f"{header}\nL1,I1,nv,mel\n")
    assert read(tmp_path, "lesion_id,image_id,dx,note,note\nL1,I1,nv,a,b\n")[0]["dx"] == "nv"


def test_an_encoding_that_is_not_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="is not UTF-8"):
        read(tmp_path, KAGGLE.encode("utf-16-le"))


def test_isic_2018_s_ground_truth_has_a_column_a_class(tmp_path: Path) -> None:
    header = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    rows = "I1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nI2,0,0,0,1,0,0,0\nI3,0,0,0,0,0,0,0\nI4,1,1,0,0,0,0,0\n"
    found = read(tmp_path, header + rows)
    assert [(row["image_id"], row["dx"]) for row in found] == [
        *(("I1", "nv"), ("I2", "akiec"), ("I3", None), ("I4", None)),
    ]
    assert found[0]["lesion_id"] is None


def test_a_format_without_lesions_has_them_where_their_column_was_added(tmp_path: Path) -> None:
    """Else photographs of one lesion would be in two splits."""
    text = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC,lesion_id,dataset,age\nI1,0,1,0,0,0,0,0,L1,wien,45\n"
    (row,) = read(tmp_path, text)
    assert (row["lesion_id"], row["dataset"], row["age"], row["dx"]) == ("L1", "wien", 45, "nv")


def test_a_class_that_is_called_like_the_diagnosis_is_it(tmp_path: Path) -> None:
    """And not the coarser class that the format has for it."""
    own = Taxonomy(
        codes=("nv", "mel", "bkl", "sk"),
        names=("Nevus", "Melanoma", "Other benign keratosis", "Seborrheic keratosis"),
    )
    header = "image_name,diagnosis,benign_malignant\n"
    text = header + "I1,seborrheic keratosis,benign\nI2,solar lentigo,benign\n"
    rows: list[Any] = list(read_metadata(written(tmp_path, text), own))
    assert [row["dx"] for row in rows] == ["sk", "bkl"]


def test_the_isic_archive_s_export(tmp_path: Path) -> None:
    text = (
        "isic_id,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,"
        "diagnosis_confirm_type,lesion_id,sex\n"
        'I1,45,head/neck,Malignant,Malignant melanocytic proliferations (Melanoma),"Melanoma, NOS",'
        "histopathology,IL_1,male\n"
        "I2,,,Benign,benign soft tissue proliferations - vascular,,,IL_2,\n"
        "I3,30,,Malignant,Malignant something,Merkel cell carcinoma,,IL_3,\n"
        "I4,30,,BENIGN,x, nevus ,HISTOPATHOLOGY,IL_4,\n"
    )
    found = read(tmp_path, text)
    assert [row["dx"] for row in found] == ["mel", "vasc", "Merkel cell carcinoma", "nv"]
    first = found[0]
    assert (first["lesion_id"], first["age"], first["sex"]) == ("IL_1", 45.0, "male")
    assert (first["localization"], first["dx_type"]) == ("head/neck", "histo")
    assert found[3]["dx_type"] == "histo"


def test_the_isic_archive_and_ham10000_agree(ham10000: Path) -> None:
    """Real rows: the same images in both formats have the same diagnosis and dx_type."""
    theirs, ours = (
        by_id(ham10000 / name)
        for name in ("isic_archive_export_sample.csv", "HAM10000_metadata.csv")
    )
    assert len(theirs) == 299
    assert {image_id: ours[image_id] for image_id in theirs} == theirs


def test_dataverse_s_form_of_ham10000(ham10000: Path) -> None:
    rows: list[Any] = list(
        read_metadata(str(ham10000 / "HAM10000_metadata_dataverse.tab.csv"), HAM10000)
    )
    assert len(rows) == 10_015
    assert sum(row["age"] is None for row in rows) == 57
    assert all(row["dataset"] for row in rows)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")  # reading it would wait for ever
    for path in ("nowhere.csv", str(tmp_path), str(tmp_path / "fifo.csv")):
        with pytest.raises(MetadataError, match=f"{path}: can't be read"):
            check_metadata_file(path, HAM10000)
    with pytest.raises(MetadataError, match=r"archive\.metadata is empty"):
        check_metadata_file("", HAM10000)


def by_id(file: Path) -> dict[str, tuple[str, str]]:
    rows: list[Any] = list(read_metadata(str(file), HAM10000))
    return {row["image_id"]: (row["dx"], row["dx_type"]) for row in rows}


# Columns and diagnoses in words of one's own


def mapped(tmp_path: Path, text: str, columns: dict[str, str], labels: dict[str, str]) -> list[Any]:
    own = MetadataConfig(columns=columns, labels=labels)
    check_metadata_file(written(tmp_path, text), HAM10000, own)
    return list(read_metadata(written(tmp_path, text), HAM10000, own))


def test_columns_and_diagnoses_may_have_names_of_their_own(tmp_path: Path) -> None:
    rows = mapped(
        tmp_path,
        "Nr;Img_Name;Diagnosis;Mole\n1;a.JPG;Melanoma;M1\n2;b.jpg; NAEVUS ;\n"
        "3;c.jpg;wart;M2\n4;d\n",
        {"image_id": "img_name", "dx": " Diagnosis", "lesion_id": "mole"},
        {"naevus": "NV"},
    )
    assert [(row["image_id"], row["dx"], row["lesion_id"]) for row in rows[:3]] == [
        *(("a", "mel", "M1"), ("b", "nv", None), ("c", "wart", "M2")),
    ]
    assert rows[3] == Malformed("d", "line 5: 2 fields, 4 expected")


def test_columns_that_have_our_names_need_not_be_named(tmp_path: Path) -> None:
    (row,) = mapped(tmp_path, "image_id,diagnosis,age\nI1,df,40\n", {"dx": "diagnosis"}, {})
    assert (row["image_id"], row["dx"], row["age"]) == ("I1", "df", 40.0)
    (row,) = mapped(tmp_path, KAGGLE + "L1,I1,df,histo,9,male,foot\n", {"lesion_id": "sex"}, {})
    assert (row["lesion_id"], row["dx"]) == ("male", "df")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image_id": "img", "dx": "b"}, r"no column 'img' \(metadata.columns.image_id\); .* a, b"),
        ({"dx": "b"}, r"Say in \[metadata.columns\] which of them are image_id and dx"),
    ],
)
def test_a_column_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, columns: dict[str, str], told: str
) -> None:
    with pytest.raises(MetadataError, match=told):
        mapped(tmp_path, "a,b\n1,nv\n", columns, {})


def test_a_mapped_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="has the column b more than once"):
        mapped(tmp_path, "a,b,B\n1,nv,mel\n", {"image_id": "a", "dx": "b"}, {})


def test_a_label_of_no_class_is_refused_with_the_classes(tmp_path: Path) -> None:
    told = r"metadata\.labels: 'naevus' is to be 'nev', which is none of the classes akiec, bcc"
    with pytest.raises(ConfigError, match=told):
        mapped(tmp_path, KAGGLE, {}, {"naevus": "nev"})
    with pytest.raises(ConfigError, match=told):
        check_metadata_file("folders", HAM10000, MetadataConfig(labels={"naevus": "nev"}))


@pytest.mark.parametrize("missing", ["NA", "nan", "NULL", "None", "n/a", "<NA>", "#N/A", "-", "?"])
def test_what_other_programs_write_for_an_empty_field_is_none(tmp_path: Path, missing: str) -> None:
    """R writes NA: as the id of a lesion it would join thousands of images."""
    text = KAGGLE + f"{missing},NA,nv,{missing},{missing},{missing},{missing}\n"
    (row,) = read(tmp_path, text)
    optional = {name: row[name] for name in ("lesion_id", "dx_type", "age", "sex", "localization")}
    assert set(optional.values()) == {None}
    assert (row["image_id"], row["dx"]) == ("NA", "nv")  # a file may be called so
    own = MetadataConfig(columns={"lesion_id": "lesion", "image_id": "photo", "dx": "diagnosis"})
    file = written(tmp_path, f"photo,lesion,diagnosis\nI1,{missing},nv\n")
    (mapped,) = read_metadata(file, HAM10000, own)
    assert not isinstance(mapped, Malformed)
    assert mapped["lesion_id"] is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_all_fields_may_be_in_quotes(tmp_path: Path, delimiter: str) -> None:
    """As write.table of R and LibreOffice write them."""
    fields = [*KAGGLE.strip().split(","), *["HAM_1", "ISIC_1", "nv", "histo", "45", "male", "back"]]
    lines = (delimiter.join(f'"{field}"' for field in part) for part in (fields[:7], fields[7:]))
    (row,) = read(tmp_path, "\n".join(lines))
    assert (row["image_id"], row["lesion_id"], row["age"]) == ("ISIC_1", "HAM_1", 45)


def test_na_is_no_diagnosis_unless_a_class_is_called_so(tmp_path: Path) -> None:
    text = "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\nISIC_1,Nevus,NA,NA\n"
    (row,) = read(tmp_path, text)
    assert row["dx"] == "Nevus"
    own = Taxonomy(codes=("mel", "none"), majority="none")
    file = written(tmp_path, KAGGLE + "L1,I1,None,none,45,male,back\n")
    (kept,) = read_metadata(file, own)
    assert not isinstance(kept, Malformed)
    assert (kept["dx"], kept["dx_type"]) == ("none", None)
