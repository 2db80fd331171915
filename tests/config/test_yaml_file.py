"""YAML of parameter files: plain values are read as written; anything else raises a one-line error with its place."""

from pathlib import Path

import pytest
import yaml

from lad.config.yaml_file import MAX_BYTES, read_value, read_values

PROJECT = Path(__file__).parents[2]
BILLION_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "lad.yaml"


def test_plain_values_are_read_as_pyyaml_reads_them(file):
    text = """
        # a comment
        student: r50
        epochs: 12
        lr: 0.01
        weight_decay: 1.0e-4
        vote: yes
        teacher: null
        "2024-01-31": '010'
        short_sides: [640, 800]
        settings: {flip: 0.0, more: {deep: -1_000}}
        """
    file.write_text(text)
    assert read_values(file) == yaml.safe_load(text)


@pytest.mark.parametrize("path", sorted((PROJECT / "params").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_in_params_has_plain_values(path):
    assert read_values(path) == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs: 1\nlr: 0.1\nepochs: 2", "line 3: duplicate key 'epochs', first given in line 1; remove one of them"),
        ("settings: {flip: 0, flip: 1}", "line 1: duplicate key 'flip'"),
        (BILLION_LAUGHS, "line 1: anchors, aliases and tags (&, *, !) are not supported; write out the value"),
        ("a: 1\nb: *a", "line 2: anchors, aliases and tags"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "line 2: anchors, aliases and tags"),
        ("a: !!binary aGVsbG8=", "line 1: anchors, aliases and tags"),
        ("<<: {a: 1}", "line 1: key '<<' is not text"),
        ("lr: .nan", "line 1: .nan is not a plain decimal number; write one such as 12 or 0.5"),
        ("lr: -.inf", "line 1: -.inf is not a plain decimal number"),
        ("lr: 1.0e+999", "line 1: 1.0e+999 is not a plain decimal number"),
        ("epochs: 010", "line 1: 010 is not a plain decimal number"),  # YAML reads 8
        ("epochs: 1:30", "line 1: 1:30 is not a plain decimal number"),  # YAML reads 90
        ("epochs: 0x10", "line 1: 0x10 is not a plain decimal number"),
        (f"epochs: {'9' * 10_000}", f"line 1: {'9' * 40} is not a plain decimal number"),
        ("data: 2024-01-31", "line 1: values of type 'timestamp' are not supported; if it is text, put it in quotes"),
        ("yes: 1", "line 1: key 'yes' is not text; put it in quotes if it is a name"),
        ("1: 2", "line 1: key '1' is not text"),
        ("[1, 2]: 3", "line 1: key 'seq' is not text"),
        ("- 1\n- 2", "must be a mapping of parameter names to values; write lines of name: value"),
        ("r50", "must be a mapping of parameter names"),
        ("", "must be a mapping of parameter names"),
        ("a: 1\n---\nb: 2", "line 2: expected a single document in the stream"),
        ("a: [1, 2", "line 1: while parsing a flow"),
        ("a: 'x", "line 1: while scanning a quoted scalar"),
        ("a: " + "[" * 10_000, "nested too deeply"),
        ("a: \0", "not valid YAML"),
        ("a: 1\n" * MAX_BYTES, f"larger than {MAX_BYTES} bytes, the limit for parameter files"),
    ],
)
def test_anything_else_raises_one_line_with_file_and_line(file, text, line):
    file.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_values(file)
    assert str(caught.value).startswith(f"{file}: {line}") and "\n" not in str(caught.value)


def test_binary_and_missing_files_are_named(file):
    file.write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(ValueError, match=r"lad\.yaml: 'utf-8' codec can't decode"):
        read_values(file)
    with pytest.raises(ValueError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        read_values(file.with_name("nowhere.yaml"))
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory"):
        read_values(file.parent)


@pytest.mark.parametrize("text", ["3", "0.5", "[640, 800]", "{flip: 0}", "r50", "true", "a/path with spaces", ""])
def test_command_line_value_is_read_as_in_a_file(text):
    assert read_value("name", text) == yaml.safe_load(text)


def test_invalid_command_line_value_raises_one_line_with_its_parameter():
    with pytest.raises(ValueError, match=r"^parameter 'short_sides': line 1: while parsing a flow sequence, expected"):
        read_value("short_sides", "[640")
