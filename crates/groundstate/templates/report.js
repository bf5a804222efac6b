// The page reads without this: it only sorts tables, filters images and enlarges one.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("strip") || !head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => Number(key(a)) - Number(key(b)) || key(a).localeCompare(key(b), "en");
      const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? order(a, b) : order(b, a)));
      table.tBodies[0].append(...rows);
    });
  });
}
const filter = document.querySelector("form.filter");
const cards = [...document.querySelectorAll(".card")];
if (filter && cards.length > 0) {
  filter.hidden = false;
  const apply = () => {
    const defect = filter.elements.defect.value;
    const text = filter.elements.text.value.toLowerCase();
    let left = 0;
    for (const card of cards) {
      const fits = (!defect || card.dataset.defect === defect) && card.dataset.name.toLowerCase().includes(text);
      card.hidden = !fits;
      left += fits ? 1 : 0;
    }
    filter.querySelector("output").textContent = left === cards.length ? "" : left + " left";
  };
  filter.addEventListener("input", apply);
  filter.addEventListener("submit", (event) => event.preventDefault());
  for (const card of cards) {
    const pictures = card.querySelector(".pictures");
    pictures.style.cursor = "zoom-in";
    pictures.addEventListener("click", () => card.classList.toggle("wide"));
  }
}
