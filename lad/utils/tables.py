"""Tables as text, CSV, LaTeX and Markdown."""

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the command line needs only the names of the formats
    import pandas as pd

TableFormat = Literal["text", "csv", "latex", "markdown"]
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "←": r"$\leftarrow$", "↔": r"$\leftrightarrow$", "±": r"$\pm$", "−": "$-$", "–": "--",
}  # fmt: skip


def format_cells(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table of text: numbers with three decimals, minutes with one, whole numbers with none, – for NaN."""
    texts = table.astype(object)
    for column in table.select_dtypes("float"):
        decimals = 1 if column == "min" else 3
        texts[column] = ["–" if math.isnan(value) else f"{value:.{decimals}f}" for value in table[column]]
    return texts.astype(str)


def to_text(table: "pd.DataFrame") -> str:
    """Return a table in columns, under its title, `attrs["title"]`, if it has one."""
    title = f"{table.attrs['title']}\n" if table.attrs.get("title") else ""
    return title + format_cells(table).to_string()


def to_csv(table: "pd.DataFrame") -> str:
    """Return a table as CSV, with all digits, empty cells for NaN, and the rows' names in the first column."""
    return table.to_csv(index_label="name").rstrip("\n")


def to_latex(table: "pd.DataFrame") -> str:
    r"""Return a table as LaTeX's tabular with the rules of the package booktabs; columns of numbers to the right.

    Needs `\usepackage{booktabs}`.
    """
    numbers = set(table.select_dtypes("number"))
    columns = "l" + "".join("r" if column in numbers else "l" for column in table)
    heading, *rows = (" & ".join(map(_escape_latex, row)) + r" \\" for row in _rows(table))
    title = f"% {table.attrs['title']}\n" if table.attrs.get("title") else ""
    body = "\n".join([r"\toprule", heading, r"\midrule", *rows, r"\bottomrule"])
    return f"{title}\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"


def to_markdown(table: "pd.DataFrame") -> str:
    """Return a table in Markdown, under its title if it has one."""
    heading, *rows = ([cell.replace("|", "\\|") for cell in row] for row in _rows(table))
    lines = [heading, ["---"] * len(heading), *rows]
    title = f"{table.attrs['title']}\n\n" if table.attrs.get("title") else ""
    return title + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


FORMATS = {"text": to_text, "csv": to_csv, "latex": to_latex, "markdown": to_markdown}


def _rows(table: "pd.DataFrame") -> list[list[str]]:
    """Return the heading and the rows as text, with the rows' names in the first column."""
    texts = format_cells(table)
    rows = [[str(name), *row] for name, row in zip(texts.index, texts.values.tolist(), strict=True)]
    return [["", *map(str, texts.columns)], *rows]


def _escape_latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(sign, sign) for sign in text)
