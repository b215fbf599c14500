# SPDX-License-Identifier: Apache-2.0
import errno

import pytest

from napari_sam.errors import OutputError
from napari_sam.io.atomic import written_atomically


def test_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with written_atomically(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("x"), ValueError),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    ],
)
def test_older_file_survives(tmp_path, error, expected):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with written_atomically(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(expected):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_message_says_why(tmp_path):
    with (
        pytest.raises(OutputError, match=r"No space left.*writable"),
        written_atomically(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
