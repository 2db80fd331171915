"""The tables, row by row: those of the paper, further comparisons of its methods with others, and those of one's own.

A table is a YAML file; docs/own_tables.md explains it. The project's are params/<table>/table.yaml.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from lad.config.yaml_file import read_values
from lad.paper.fields import Line, Title, Titles
from lad.paper.published import PUBLISHED, Published
from lad.utils.messages import (
    did_you_mean,
    format_path,
    format_validation_error,
    format_value,
    invalid_choice_message,
    refuse_unknown_names,
)
from lad.utils.options import OPTIONS
from lad.utils.paths import absolute_path, project_files

T = TypeVar("T")
KEYS = ("question", "rows", "published", "not_trained")  # of a table's file
SUFFIXES = (".yaml", ".yml")
NAMES = (
    "table2_soft_label_vs_lad", "table3_small_teacher", "co_learning", "sota_r101_x101", "swin_teacher",
    "auxiliary_heads", "distillation_methods", "assigners", "teacher_quality",
)  # fmt: skip


@dataclass(frozen=True, config=OPTIONS)
class Row:
    """A row of a table.

    Attributes:
        title: Name of the row.
        file: File with the parameters of its runs, relative to that of the table; None if `parameters` has them.
        against: Title of the row that it is compared with, its baseline.
        published: Names of published results, the result that is reproduced first.
        is_teacher_network: Whether the row is the teacher, the second network, of a co-learning run.
        also_against: Titles of further rows that it is compared with in the conclusions.
        claim: What the table claims of it against the rows that it is compared with: it is better, or worse, or that is
            an open question.
        parameters: Parameters of its runs, if they are not in a file.
    """

    title: Title
    file: Line | None = None
    against: Title | None = None
    published: Titles = ()
    is_teacher_network: Annotated[bool, Field(strict=True)] = False
    also_against: Titles = ()
    claim: Literal["better", "worse", "open"] = "better"
    parameters: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def compared_with(self) -> tuple[str, ...]:
        """Return the titles of all rows that it is compared with, its baseline first."""
        return () if self.against is None else (self.against, *self.also_against)


@dataclass(frozen=True, config=OPTIONS)
class Table:
    """A table.

    Attributes:
        name: Name of its results, and of its notebook if it is a table of the project.
        question: Question that the table answers, its heading.
        rows: Rows, in order.
        not_trained: Names of published results to compare with that are not trained here.
        published: The table's own published results by name, beside `PUBLISHED`.
        path: Its file.
    """

    name: Title
    question: Title
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    not_trained: Titles = ()
    published: dict[Title, Published] = field(default_factory=dict)
    path: Path = Path()

    def published_result(self, name: str) -> Published:
        """Return the published result with this name."""
        return self.published.get(name) or PUBLISHED[name]

    def file_of(self, row: Row) -> Path:
        """Return the file of a row's parameters; that of the table itself if it has them."""
        return self.path if row.file is None else self.path.parent / row.file


class _ProjectTables(Mapping[str, Table]):
    """The project's tables by name; a table's file is read at each access."""

    def __getitem__(self, name: str) -> Table:
        if name not in NAMES:
            raise KeyError(name)
        return read_table(project_files("params") / name / "table.yaml")

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


TABLES = _ProjectTables()


def find_table(name: Any) -> Table:
    """Return a table of the project by its name, or one's own by the path of its file.

    Raises:
        ValueError: There is no such table, or its file is invalid; one line that names it.
    """
    if isinstance(name, str | Path) and str(name).endswith(SUFFIXES):
        return read_table(absolute_path("table", name))
    if isinstance(name, str) and name in TABLES:
        return TABLES[name]
    message = invalid_choice_message("table", name, TABLES)
    raise ValueError(f"{message}; for a table of your own, give the path of its .yaml file")


def read_table(path: Path) -> Table:
    """Read a table from its file.

    The parameters of its rows are read and checked later, by `lad.paper.tables.open_table`: they depend on the profile.

    Raises:
        ValueError: The file cannot be read, or something in it is wrong; one line that names file, row and field.
    """
    given = read_values(path)
    try:
        refuse_unknown_names(given, KEYS)
        results = _mapping("parameter 'published'", given.get("published") or {})
        own = {name: _build(Published, values, f"published {format_value(name)}") for name, values in results.items()}
        for name in own.keys() & PUBLISHED.keys():
            raise ValueError(f"published '{name}': lad/paper/published.py has a result of this name; choose another")
        rows = given.get("rows")
        if not isinstance(rows, list) or not rows:
            raise ValueError(f"parameter 'rows' = {format_value(rows)} must be a list of rows, each with a title")
        name = path.parent.name if path.stem == "table" else path.stem
        built = tuple(_build(Row, values, _name_of_row(values, place)) for place, values in enumerate(rows, start=1))
        table = _build(Table, {**given, "name": name, "rows": built, "published": own, "path": path})
        _check_published("not_trained", table.not_trained, table)
        _check_rows(table)
    except ValueError as error:
        raise ValueError(f"{format_path(path)}: {error}") from None
    return table


def _build(model: type[T], given: Any, owner: str = "") -> T:
    """Build a pydantic dataclass from the given values; None means "not given"."""
    prefix = f"{owner}: " if owner else ""
    known = {name: value for name, value in _mapping(owner, given).items() if value is not None}
    try:
        refuse_unknown_names(known, model.__dataclass_fields__)  # type: ignore[attr-defined]  # a dataclass
        return model(**known)
    except ValidationError as error:
        raise ValueError(f"{prefix}{format_validation_error(error)}") from None
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def _mapping(owner: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{owner} = {format_value(given)} must map names to values; write lines of name: value")
    return given


def _name_of_row(values: Any, place: int) -> str:
    title = values.get("title") if isinstance(values, Mapping) else None
    return f"row {format_value(title)}" if isinstance(title, str) else f"row {place}"


def _check_rows(table: Table) -> None:
    """Check what a row says of other rows, of published results and of its file."""
    places: dict[str, int] = {}
    for place, row in enumerate(table.rows, start=1):
        first = places.setdefault(row.title, place)
        if first != place:
            raise ValueError(f"rows {first} and {place} have the same title, {format_value(row.title)}; change one")
    for row in table.rows:
        try:
            _check_comparisons(row, [title for title in places if title != row.title])
            _check_published("published", row.published, table)
            _check_file(row, table)
        except ValueError as error:
            raise ValueError(f"row {format_value(row.title)}: {error}") from None


def _check_comparisons(row: Row, others: list[str]) -> None:
    named = [("against", row.against)] if row.against is not None else []
    for parameter, title in (*named, *(("also_against", title) for title in row.also_against)):
        if title not in others:
            raise ValueError(invalid_choice_message(parameter, title, others or ["(no other row)"]))
    if row.also_against and row.against is None:
        raise ValueError("parameter 'also_against' needs 'against', the row's baseline")
    if len({row.against, *row.also_against}) <= len(row.also_against):
        raise ValueError("parameter 'also_against' names a row twice, or the one that 'against' names")


def _check_published(parameter: str, names: tuple[str, ...], table: Table) -> None:
    known = {*table.published, *PUBLISHED}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or "give it below 'published' of the table"
            raise ValueError(
                f"parameter '{parameter}': there is no result {format_value(name)}, here or in lad/paper/published.py; "
                f"{hint}"
            )


def _check_file(row: Row, table: Table) -> None:
    if (row.file is None) == (row.parameters is None):
        raise ValueError("give either 'file', the file of its parameters, or 'parameters'")
    if row.file is None:
        return
    path = absolute_path("file", table.file_of(row))
    if not path.is_file():
        names = sorted(other.name for suffix in SUFFIXES for other in path.parent.glob(f"*{suffix}"))
        hint = did_you_mean(path.name, names) or "give a parameter file"
        raise ValueError(f"parameter 'file' = {format_value(row.file)}: no file {format_path(path)}; {hint}")


def published_gain(table: Table, row: Row) -> float | None:
    """Return the published AP gain of a row over its baseline; None unless both are published on one, known split."""
    (baseline,) = (candidate for candidate in table.rows if candidate.title == row.against)
    if not row.published or not baseline.published:
        return None
    result, reference = (table.published_result(of.published[0]) for of in (row, baseline))
    is_comparable = result.split == reference.split != "unknown" and result.head == reference.head == ""
    return result.ap - reference.ap if is_comparable else None


def format_published(table: Table, row: Row) -> str:
    """Format the published APs of a row with split and schedule; "–" if there is none."""
    results = [table.published_result(name) for name in row.published]
    return "; ".join(f"{result.ap} ({', '.join(_origin(result))})" for result in results) or "–"


def _origin(result: Published) -> list[str]:
    split = "split unknown" if result.split == "unknown" else result.split
    return [text for text in (split, result.schedule) if text]
