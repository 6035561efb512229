"use strict";
// A click on a column's header sorts each body of the table by it, so references stay in place. Missing values come last.
const compared = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en") : a - b);
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const value = (row) => row.cells[column].dataset.value;
      const there = [...body.rows].filter((row) => value(row) !== undefined);
      const missing = [...body.rows].filter((row) => value(row) === undefined);
      there.sort((one, other) => sign * compared(value(one), value(other)));
      body.append(...there, ...missing);
    }
  }));
}
// A link to a folded part unfolds it.
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
};
addEventListener("hashchange", unfold);
unfold();
