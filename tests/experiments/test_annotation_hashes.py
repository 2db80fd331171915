"""The hashes of a data set's annotations follow the content of its files."""

import hashlib
import shutil

from tiny_runs import tiny

from lad.experiments.annotation_hashes import annotation_hashes, has_annotations


def test_they_are_those_of_both_files_and_follow_a_change(shapes, tmp_path):
    data = shutil.copytree(shapes, tmp_path / "data")
    parameters = tiny(data, tmp_path)
    before = annotation_hashes(parameters)
    files = {"training_sha256": "instances_train.json", "validation_sha256": "instances_val.json"}
    assert before == {name: hashlib.sha256((data / file).read_bytes()).hexdigest() for name, file in files.items()}
    (data / "instances_val.json").write_text((data / "instances_val.json").read_text() + "\n")
    after = annotation_hashes(parameters)
    assert after["training_sha256"] == before["training_sha256"] and not has_annotations(before, after)


def test_results_without_hashes_are_of_any_annotations():
    assert has_annotations({}, {"training_sha256": "1"}) and has_annotations({"training_sha256": "1"}, {})


def test_generated_and_missing_data_have_none(tmp_path):
    assert annotation_hashes(tiny("toy", tmp_path)) == annotation_hashes(tiny(tmp_path / "none", tmp_path)) == {}
