"""Model files: what is written comes back; what was cut, altered or swapped is refused; nothing in one can execute."""

import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from geodl_qgis_plugin.engine.errors import ModelFileError, SourceError
from geodl_qgis_plugin.engine.model_file import read_model, stac_item, write_model

pytest.importorskip("safetensors")
ITEM = stac_item("m", None, {"geodl:kind": "classifier", "geodl:classifier": {"halo_px": 3, "text": "x" * 40}})
WEIGHTS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7, np.int64)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.geodl"
    write_model(path, ITEM, WEIGHTS, "<p>report</p>", b"onnx")
    return path


def rewritten(model, path, change, compression=zipfile.ZIP_STORED):
    """Write the members of a model again after ``change`` has had them."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in change(members).items():
            archive.writestr(name, data)
    return path


def test_a_model_comes_back_as_it_was_written(model, tmp_path):
    """Description, weights of any type and shape, report, ONNX; and the same contents give the same bytes."""
    again = tmp_path / "again.geodl"
    write_model(again, ITEM, dict(reversed(WEIGHTS.items())), "<p>report</p>", b"onnx")
    assert again.read_bytes() == model.read_bytes()
    read = read_model(model)
    assert read.part("classifier") == {"halo_px": 3, "text": "x" * 40}
    assert (read.report, read.onnx) == ("<p>report</p>", b"onnx")
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(read.weights[name], array)
        assert read.weights[name].dtype == array.dtype
    with zipfile.ZipFile(model) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_file_cut_short_is_refused(model, tmp_path):
    """At every length."""
    data, path = model.read_bytes(), tmp_path / "cut.geodl"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError) as caught:
            read_model(path)
        assert "\n" not in str(caught.value)


def test_an_altered_byte_is_refused_or_changes_nothing(model, tmp_path):
    """Each byte of the file in turn: an error with a sentence, or the model as it was."""
    whole, path, good = model.read_bytes(), tmp_path / "altered.geodl", read_model(model)
    refused = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            read = read_model(path)
        except ModelFileError as error:
            refused.append(str(error))
            continue
        assert (read.item, read.report, read.onnx) == (good.item, good.report, good.onnx)
        assert all((read.weights[name] == array).all() for name, array in WEIGHTS.items())
    assert len(refused) > 0.8 * len(whole)
    assert not any("\n" in sentence for sentence in refused)


def test_a_member_that_seems_encrypted_is_refused(model, tmp_path):
    """A flag of the ZIP that was altered ends with a sentence too."""
    data = bytearray(model.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "encrypted.geodl"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        read_model(path)


def test_other_weights_in_the_same_file_are_refused(model, tmp_path):
    """Also where the ZIP's own checksums are right: a member is changed, another model's, or its checksum is left out."""
    other = tmp_path / "other.geodl"
    write_model(other, ITEM, {**WEIGHTS, "a": np.array(8, np.int64)}, "<p>report</p>", b"onnx")
    with zipfile.ZipFile(other) as archive:
        theirs = archive.read("weights.safetensors")

    def without_checksum(members):
        item = json.loads(members["item.json"])
        del item["assets"]["weights"]
        return {**members, "item.json": json.dumps(item).encode(), "weights.safetensors": theirs}

    for change, words in (
        (lambda members: {**members, "weights.safetensors": theirs}, "was altered after training"),
        (lambda members: {**members, "report.html": b"<p>better</p>"}, "was altered after training"),
        (lambda members: {**members, "weights.safetensors": members["report.html"]}, "was altered"),
        (lambda members: {n: d for n, d in members.items() if n != "weights.safetensors"}, "damaged or no GeoDL model"),
        (lambda members: {n: d for n, d in members.items() if n != "item.json"}, "damaged or no GeoDL model"),
        (without_checksum, "damaged or no GeoDL model"),
    ):
        with pytest.raises(ModelFileError, match=words):
            read_model(rewritten(model, tmp_path / "swapped.geodl", change))


def test_compressed_members_are_refused(model, tmp_path):
    """What could swell up in memory is not unpacked."""
    with pytest.raises(ModelFileError, match="compressed"):
        read_model(rewritten(model, tmp_path / "c.geodl", lambda members: members, zipfile.ZIP_DEFLATED))


def test_nothing_that_can_execute_is_loaded(model, tmp_path):
    """A pickle or a PyTorch archive, as the file or as its weights, is refused, and what it would do is not done."""

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    evil = pickle.dumps(Evil())
    (tmp_path / "evil.geodl").write_bytes(evil)
    torch_file = tmp_path / "torch.geodl"
    with zipfile.ZipFile(torch_file, "w") as archive:
        archive.writestr("archive/data.pkl", evil)

    def with_pickle(members):
        item = json.loads(members["item.json"])
        item["assets"]["weights"]["file:checksum"] = "1220" + hashlib.sha256(evil).hexdigest()
        return {**members, "item.json": json.dumps(item).encode(), "weights.safetensors": evil}

    for path in (tmp_path / "evil.geodl", torch_file, rewritten(model, tmp_path / "w.geodl", with_pickle)):
        with pytest.raises(ModelFileError):
            read_model(path)
    assert not (tmp_path / "executed").exists()
    code = "import sys\nfrom geodl_qgis_plugin.engine.model_file import read_model\n"
    code += "read_model(sys.argv[1])\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_later_version_another_kind_a_folder_and_no_file(model, tmp_path):
    """Each with a sentence that says what to do."""

    def later(members):
        item = json.loads(members["item.json"])
        return {**members, "item.json": json.dumps({**item, "geodl:format_version": 99}).encode()}

    with pytest.raises(ModelFileError, match=r"later version of GeoDL\. Update"):
        read_model(rewritten(model, tmp_path / "later.geodl", later))
    with pytest.raises(ModelFileError, match="is a classifier, but a forecaster is needed"):
        read_model(model).part("forecaster")
    with pytest.raises(ModelFileError, match="is no GeoDL model"):
        read_model(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        read_model(tmp_path / "none.geodl")


def test_a_forged_size_does_not_fill_the_memory(model, tmp_path):
    """A directory that promises more than the limit is refused before anything is read."""
    data = bytearray(model.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, entry + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    path = tmp_path / "forged.geodl"
    path.write_bytes(data)
    with pytest.raises(ModelFileError):
        read_model(path)
    assert zipfile.is_zipfile(io.BytesIO(data))
