"""The explorer's HTML: its style, the table of candidates, and the images on its buttons."""

import html
import io
from base64 import b64encode

import numpy as np
import pandas as pd
from PIL import Image

THUMBNAIL_SIDE = 60  # pixels
STYLE = f"""<style>
.lad-explorer .lad-column {{ flex: 1 1 380px; max-width: 450px; min-width: 0; margin: 0 14px 0 0; }}
.lad-explorer .lad-column .widget-html, .lad-explorer .lad-column .widget-html-content {{
  width: 100%; height: auto; margin: 0; }}
.lad-explorer .lad-column .widget-html-content {{ line-height: normal; }}
.lad-explorer .lad-table {{
  width: 100%; margin: 0; height: auto; max-height: 22em; overflow: auto; container-type: inline-size; }}
.lad-explorer table {{ border-collapse: collapse; font-size: 12px; line-height: 1.5; }}
.lad-explorer th, .lad-explorer td {{
  padding: 1px 9px; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.lad-explorer th {{ border-bottom: 1px solid currentColor; font-weight: 600; }}
.lad-explorer tr.lad-positive td {{ font-weight: 600; }}
@container (max-width: 720px) {{
  .lad-explorer table {{ font-size: 11px; line-height: 1.45; }}
  .lad-explorer th, .lad-explorer td {{ padding: 1px 4px; }}
  .lad-explorer th {{ white-space: normal; vertical-align: bottom; line-height: 1.2; }} }}
.lad-explorer .lad-message {{ color: var(--jp-error-color1, #b3261e); font-weight: 600; }}
.lad-explorer button.lad-thumbnail {{
  width: {THUMBNAIL_SIDE}px; height: {THUMBNAIL_SIDE}px; padding: 0; background-size: contain;
  background-position: center; background-repeat: no-repeat; border: 2px solid transparent; }}
.lad-explorer button.lad-chosen {{ border-color: #0072B2; }}
.lad-explorer :is(button, select, input, [tabindex], [contenteditable]):focus-visible {{
  outline: 2px solid var(--jp-content-font-color0, black) !important; outline-offset: 1px; }}
[data-jp-theme-light=false] .lad-explorer svg text[style*="#0072b2"] {{ fill: #56B4E9 !important; }}
</style>"""


def thumbnail(pixels: np.ndarray) -> str:
    """Return a small JPEG in base64."""
    image, jpeg = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
    image.save(jpeg, format="jpeg")
    return b64encode(jpeg.getvalue()).decode()


def table_html(table: pd.DataFrame) -> str:
    """Return a table of candidates as HTML, the positives in bold."""
    head = "".join(f'<th scope="col">{name}</th>' for name in table.columns)
    rows = []
    for row in table.itertuples(index=False):
        cells = (f"{cell:.3f}" if isinstance(cell, float) else html.escape(str(cell)) for cell in row)
        emphasis = ' class="lad-positive"' if row[table.columns.get_loc("positive")] else ""
        rows.append(f"<tr{emphasis}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
