"""Rows in the form in which data sets publish theirs; ids and values are invented."""

from pathlib import Path
from typing import Any

import pytest

from skinclf.archives.metadata import read_metadata
from skinclf.config.schema import MetadataConfig
from skinclf.spec.taxonomy import HAM10000, Taxonomy

EIGHT = Taxonomy(codes=("ak", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc"))
TWO = Taxonomy(codes=("benign", "malignant"), majority="benign", screened="malignant")


def read(
    tmp_path: Path, text: str, taxonomy: Taxonomy = HAM10000, **own: dict[str, str]
) -> list[Any]:
    (tmp_path / "table.csv").write_text(text)
    return list(read_metadata(str(tmp_path / "table.csv"), taxonomy, MetadataConfig(**own)))


def known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


ISIC_2019 = (
    "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    "ISIC_9000001,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_9000002_downsampled,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_9000003,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0\n"
    "ISIC_9000004,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n"
)


def test_isic_2019(tmp_path: Path) -> None:
    rows = read(tmp_path, ISIC_2019)
    assert [(row["image_id"], row["dx"]) for row in rows] == [
        ("ISIC_9000001", "nv"),
        ("ISIC_9000002_downsampled", "akiec"),
        ("ISIC_9000003", "SCC"),  # a reject, which says so
        ("ISIC_9000004", "UNK"),
    ]
    assert [row["dx"] for row in read(tmp_path, ISIC_2019, EIGHT)] == ["nv", "ak", "scc", "UNK"]
    labels = {"scc": "akiec", "unk": "bkl"}
    rows = read(tmp_path, ISIC_2019, labels=labels)
    assert [row["dx"] for row in rows] == ["nv", "akiec", "akiec", "bkl"]


def test_isic_2019_with_a_few_of_its_classes_names_the_others(tmp_path: Path) -> None:
    few = Taxonomy(codes=("mel", "nv"))
    assert [row["dx"] for row in read(tmp_path, ISIC_2019, few)] == ["nv", "akiec", "SCC", "UNK"]


def test_isic_2020_in_both_versions(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
        "benign_malignant,target\n"
        "ISIC_9100001,IP_9000001,male,45.0,head/neck,seborrheic keratosis,benign,0\n",
    )
    assert known(row) == {
        "image_id": "ISIC_9100001",
        "dx": "bkl",
        "age": 45.0,
        "sex": "male",
        "localization": "head/neck",
    }
    text = (
        "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
        "benign_malignant,target\n"
        "ISIC_9100002,IP_9000002,IL_9000002,female,60,torso,melanoma,malignant,1\n"
        "ISIC_9100003,IP_9000002,IL_9000003,female,60,,nevus,benign,0\n"
        "ISIC_9100004,IP_9000003,IL_9000004,,,torso,unknown,benign,0\n"
        "ISIC_9100005,IP_9000003,IL_9000005,,,torso,lentigo NOS,benign,0\n"
    )
    rows = read(tmp_path, text)
    assert [(row["lesion_id"], row["dx"]) for row in rows] == [
        ("IL_9000002", "mel"),
        ("IL_9000003", "nv"),
        ("IL_9000004", "unknown"),
        ("IL_9000005", "lentigo NOS"),
    ]
    rows = read(tmp_path, text, TWO, columns={"lesion_id": "patient_id"})
    assert [row["dx"] for row in rows] == ["malignant", "benign", "benign", "benign"]
    assert rows[0]["lesion_id"] == rows[1]["lesion_id"] == "IP_9000002"


def test_pad_ufes_20(tmp_path: Path) -> None:
    header = (
        "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,"
        "gender,skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,"
        "region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id,"
        "biopsed\n"
    )
    rows = read(
        tmp_path,
        header
        + "PAT_9001,901,,,,,8,,,,,,,,ARM,,,NEV,FALSE,FALSE,FALSE,FALSE,FALSE,FALSE,"
        + "PAT_9001_901_11.png,False\n"
        + "PAT_9002,902,False,False,POMERANIA,POMERANIA,55,False,FEMALE,True,True,True,True,3.0,"
        + "NECK,6.0,5.0,ACK,True,True,False,True,True,True,PAT_9002_902_12.png,True\n"
        + "PAT_9003,903,,,,,77,,,,,,,,FACE,,,SEK,True,UNK,False,UNK,False,True,"
        + "PAT_9003_903_13.png,False\n"
        + "PAT_9003,904,,,,,77,,,,,,,,FACE,,,SCC,True,UNK,False,UNK,False,True,"
        + "PAT_9003_904_14.png,True\n",
    )
    assert [row["dx"] for row in rows] == ["nv", "akiec", "bkl", "SCC"]
    assert known(rows[1]) == {
        "lesion_id": "PAT_9002_902",
        "image_id": "PAT_9002_902_12",
        "dx": "akiec",
        "dx_type": "histo",
        "age": 55.0,
        "sex": "female",
        "localization": "neck",
    }
    assert "dx_type" not in known(rows[0])


def test_bcn20000(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split\n"
        "BCN_9000000001.jpg,55.0,anterior torso,MEL,BCN_9003884,2012-05-16,male,train\n"
        "BCN_9000000002.jpg,,,AK,BCN_9003885,2012-05-17,,train\n"
        "BCN_9000000003.jpg,,,SCC,BCN_9003886,2012-05-17,,train\n",
    )
    assert [row["dx"] for row in rows] == ["mel", "akiec", "SCC"]
    assert known(rows[0]) == {
        "lesion_id": "BCN_9003884",
        "image_id": "BCN_9000000001",
        "dx": "mel",
        "age": 55.0,
        "sex": "male",
        "localization": "anterior torso",
    }


def test_derm7pt_reads_the_photograph_through_the_dermatoscope(tmp_path: Path) -> None:
    text = (
        "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,"
        "regression_structures,dots_and_globules,blue_whitish_veil,vascular_structures,"
        "level_of_diagnostic_difficulty,elevation,location,sex,management,clinic,derm,case_id,notes"
        "\n"
        "9001,reed or spitz nevus,1,absent,absent,absent,absent,regular,absent,absent,low,"
        "nodular,back,male,excision,NEL/NEL926.JPG,NEL/NEL925.JPG,,\n"
        "9002,melanoma (less than 0.76 mm),4,atypical,absent,absent,absent,irregular,present,"
        "absent,low,flat,arm,female,excision,AAL/Aal902.jpg,AAL/Aal901.jpg,,a note\n"
        "9003,melanosis,1,absent,absent,absent,absent,absent,absent,absent,low,flat,face,female,"
        "no further examination,AAL/Aal904.jpg,AAL/Aal903.jpg,,\n"
    )
    rows = read(tmp_path, text)
    assert [(row["image_id"], row["dx"]) for row in rows] == [
        *(("NEL925", "nv"), ("Aal901", "mel"), ("Aal903", "melanosis")),
    ]
    assert (rows[0]["sex"], rows[0]["localization"]) == ("male", "back")
    clinical = read(tmp_path, text, columns={"image_id": "clinic"})
    assert [row["image_id"] for row in clinical] == ["NEL926", "Aal902", "Aal904"]


def test_labels_know_the_isic_archive_s_words_of_all_levels_and_our_codes(tmp_path: Path) -> None:
    text = (
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\n"
        "I1,Benign,Benign melanocytic proliferations,Nevus\n"
        "I2,Malignant,Malignant adnexal,Porocarcinoma\n"
        "I3,Benign,Benign epidermal proliferations,Solar lentigo\n"
    )
    assert [row["dx"] for row in read(tmp_path, text)] == ["nv", "Porocarcinoma", "bkl"]
    rows = read(tmp_path, text, TWO)  # its words of the first level are classes
    assert [row["dx"] for row in rows] == ["benign", "malignant", "benign"]
    rows = read(tmp_path, text, TWO, labels={"solar lentigo": "Malignant", "nv": "malignant"})
    assert [row["dx"] for row in rows] == ["malignant", "malignant", "malignant"]
    rows = read(tmp_path, text, labels={"Benign": "df", "malignant": "mel"})
    assert [row["dx"] for row in rows] == ["nv", "mel", "bkl"]  # what is known keeps its code


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image_id,lesion_id,dx", "{},L1,nv"),
        ("isic_id,diagnosis_1,diagnosis_2,diagnosis_3", "{},Benign,x,Nevus"),
        ("image,AKIEC,BCC,BKL,DF,MEL,NV,VASC", "{},0,0,0,0,0,1,0"),
        ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", "{},0,1,0,0,0,0,0,0,0"),
        ("image_name,diagnosis,benign_malignant", "{},nevus,benign"),
        ("bcn_filename,diagnosis", "{},NV"),
        ("img_id,diagnostic", "{},NEV"),
        ("derm,clinic,diagnosis", "{},x,nevus"),
    ],
)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ISIC_1", "ISIC_1"),
        ("ISIC_1.jpg", "ISIC_1"),
        ("train/nv/ISIC_1.JPEG", "ISIC_1"),
        (r"D:\photos\ISIC_1.png", "ISIC_1"),
        ("ISIC_1.2", "ISIC_1.2"),  # no ending of an image: a part of the id
        ("ISIC_1.jpg.png", "ISIC_1.jpg"),
    ],
)
def test_ids_are_read_with_or_without_path_and_ending_in_every_format(
    tmp_path: Path, header: str, row: str, written: str, meant: str
) -> None:
    (found,) = read(tmp_path, f"{header}\n{row.format(written)}\n")
    assert (found["image_id"], found["dx"]) == (meant, "nv")
