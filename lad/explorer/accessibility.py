"""Names and states of the explorer's controls and figures for screen readers."""

import html

PANELS = {  # what each shows, for screen readers
    "picture": "image with the positives",
    "costs": "maps of the cost of each location",
    "student mixture": "the student's costs and PAA's two Gaussians",
    "teacher mixture": "the teacher's costs and PAA's two Gaussians",
}
TOOLTIPS = {  # by attribute of `Controls`; without one, ipywidgets shows "null"
    "run": "the run whose student is shown",
    "compare_with": "another run as the teacher",
    "epoch": "after which epoch of the training; the teacher does not change",
    "upload": "show an image file of your own",
    "gt": "the object whose positives are highlighted",
    "assignment": "who decides which anchors are positives",
    "anchor_boxes": "draw the anchor boxes of the object's positives",
    "predicted_boxes": "draw the boxes that the networks predict there",
    "table_of": "the network whose costs the table lists",
    "box_x": "left and right side of your box",
    "box_y": "upper and lower side of your box",
    "box_class": "class of the object in your box",
}
# ipywidgets gives no names to sliders, no state to toggle buttons, and no keyboard focus to a scrolling table.
NAMES_SCRIPT = """
const set = (node, values) => Object.entries(values).forEach(([name, value]) => {
  if (node && node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
});
const nameAll = (page) => {
  page.querySelectorAll(".widget-slider").forEach((slider) => {
    const name = slider.querySelector("label").textContent, handles = slider.querySelectorAll("[role=slider]");
    handles.forEach((handle, i) => set(handle, {
      "aria-label": handles.length > 1 ? `${name} ${["from", "to"][i]}` : name,
      "aria-disabled": slider.querySelector("[disabled]") !== null,
    }));
    set(slider.querySelector(".widget-readout"), { role: "textbox", "aria-label": `${name}, value` });
  });
  page.querySelectorAll(".widget-toggle-button, .lad-thumbnail").forEach((button) =>
    set(button, { "aria-pressed": ["mod-active", "lad-chosen"].some((name) => button.classList.contains(name)) }));
  set(page.querySelector(".lad-table"), { role: "region", tabindex: 0, "aria-label": "candidates" });
  set(page.querySelector(".lad-message"), { role: "alert" });
};
const start = () => {
  const page = element.closest(".lad-explorer");
  if (!page) return setTimeout(start, 100);
  nameAll(page);
  const changes = { subtree: true, childList: true, attributes: true, attributeFilter: ["class", "disabled"] };
  new MutationObserver(() => nameAll(page)).observe(page, changes);
};
start();
"""


def named_svg(svg: str, name: str) -> str:
    """Return an SVG element as an image with a name, so that a screen reader does not read the figure's labels."""
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1)
