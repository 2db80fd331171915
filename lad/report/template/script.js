// One button shows or hides all code.
const button = document.getElementById("show-code");
const cells = document.querySelectorAll("details.code");
button.hidden = cells.length === 0;
button.addEventListener("click", () => {
  const open = button.getAttribute("aria-pressed") === "false";
  cells.forEach((cell) => { cell.open = open; });
  button.setAttribute("aria-pressed", String(open));
  button.textContent = open ? "hide all code" : "show all code";
});
// On a narrow page the table of contents closes when a heading is chosen.
const top_contents = document.querySelector("details.contents");
top_contents.addEventListener("click", (event) => {
  if (event.target.closest("a")) top_contents.open = false;
});
