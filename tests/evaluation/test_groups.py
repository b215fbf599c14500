# SPDX-License-Identifier: Apache-2.0
import pytest

from napari_sam.errors import SettingsError
from napari_sam.evaluation.groups import UNKNOWN, group_of, read_groups


def _index(tmp_path, text: str):
    path = tmp_path / "index.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_by_name_with_or_without_extension(tmp_path):
    path = _index(
        tmp_path,
        "name,site,stain\na.png,Ulm,H&E\nb, Graz ,\nv1.5,Ulm,DAPI\nx.ome.tif,1,2\n",
    )
    found = read_groups(path, ["stain", "site"], ["a", "b", "c", "v1.5", "x"])
    assert found["a"] == {"stain": "H&E", "site": "Ulm"}
    assert found["b"] == {"stain": UNKNOWN, "site": "Graz"}
    assert found["c"] == {"stain": UNKNOWN, "site": UNKNOWN}
    assert found["v1.5"]["stain"] == "DAPI"
    assert found["x"]["stain"] == "2"


def test_many_numbers_become_quarters(tmp_path):
    rows = "".join(f"i{n},{n / 2},{n % 3}\n" for n in range(16))
    path = _index(tmp_path, "file,size,kind\n" + rows)
    found = read_groups(path, ["size", "kind"], [f"i{n}" for n in range(16)])
    sizes = [found[f"i{n}"]["size"] for n in range(16)]
    quarters = ["0 to 1.875", "1.875 to 3.75", "3.75 to 5.625", "5.625 to 7.5"]
    assert sizes == [quarter for quarter in quarters for _ in range(4)]
    assert found["i5"]["kind"] == "2"  # few different numbers stay as they are


def test_planes_of_a_stack_share_the_row_of_their_file():
    groups = {"stack": {"site": "Ulm"}, "odd[1]": {"site": "Graz"}}
    assert group_of("stack[z=3]", groups) == {"site": "Ulm"}
    assert group_of("odd[1]", groups) == {"site": "Graz"}
    assert group_of("other", groups) == {}


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("name,site\na,Ulm\n", ["stain"], "no column 'stain'. Its columns: name, site"),
        ("title,site\na,Ulm\n", ["site"], "no column 'name or image"),
        ("name,site\nq,Ulm\n", ["site"], "names none of the 1 images"),
        ("", ["site"], "no column"),
    ],
)
def test_bad_files_are_told(tmp_path, text, columns, words):
    with pytest.raises(SettingsError, match=words):
        read_groups(_index(tmp_path, text), columns, ["a"])


def test_unreadable_files_are_told(tmp_path):
    with pytest.raises(SettingsError, match="Cannot read the index"):
        read_groups(tmp_path / "none.csv", ["site"], ["a"])
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SettingsError, match="Cannot read the index"):
        read_groups(path, ["site"], ["a"])


def test_short_rows_have_unknown_values(tmp_path):
    found = read_groups(_index(tmp_path, "name,site\na\n"), ["site"], ["a"])
    assert found["a"] == {"site": UNKNOWN}
