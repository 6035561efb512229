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

// Above a leaderboard: a filter of its methods, and a choice of its columns. References always stay.
const made = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const matches = (name, words) => !words.length || words.some((word) => name.includes(word));
for (const table of document.querySelectorAll("table.board")) {
  const filter = made("input", { type: "search", placeholder: "Filter methods: replay, vae", ariaLabel: "Filter methods" });
  const shown = made("output", {});
  const stay = ["upper", "lower", "floor"];
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const rows = [...table.tBodies].filter((body) => !stay.includes(body.className)).flatMap((body) => [...body.rows]);
    for (const row of rows) row.hidden = !matches(row.cells[0].textContent.toLowerCase(), words);
    shown.value = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} methods` : "";
  });
  const choices = [...table.tHead.rows[0].cells].map((head, column) => {
    const box = made("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const row of table.rows) row.cells[column].hidden = !box.checked;
    });
    return made("label", {}, box, ` ${head.innerText.replace(/-\n/g, "-").replace(/\s+/g, " ").trim()}`);
  });
  const columns = made("details", {}, made("summary", {}, "Columns"), made("div", {}, ...choices.slice(1)));
  table.parentElement.before(made("div", { className: "tools" }, filter, shown, columns));
}

// The curve under the pointer says its method and the value of its nearest point.
const toSegment = (x, y, [ax, ay], [bx, by]) => {
  const [dx, dy] = [bx - ax, by - ay];
  const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
};
const toCurve = (x, y, points) =>
  Math.min(...points.map((point, i) => toSegment(x, y, points[Math.max(0, i - 1)], point)));
const least = (list, key) => list.reduce((best, one) => (key(one) < key(best) ? one : best));
const tip = made("div", { className: "tip", hidden: true });
document.body.append(tip);
for (const svg of document.querySelectorAll("svg:has([data-points])")) {
  const curves = [...svg.querySelectorAll("[data-points]")].map((element) => {
    const title = element.querySelector("title");
    title.remove(); // the browser would show it as well
    const points = element.dataset.points.split(";").filter(Boolean).map((text) => {
      const [x, y, ...words] = text.split(" ");
      return [Number(x), Number(y), words.join(" ")];
    });
    return { element, points, name: title.textContent };
  }).filter((curve) => curve.points.length);
  const dot = document.createElementNS(svg.namespaceURI, "circle");
  dot.setAttribute("class", "dot");
  const leave = () => {
    tip.hidden = true;
    svg.classList.remove("over");
    dot.remove();
  };
  svg.addEventListener("pointerleave", leave);
  const show = (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const near = least(curves, (curve) => toCurve(x, y, curve.points));
    if (toCurve(x, y, near.points) > 12) return leave();
    const [px, py, words] = least(near.points, ([ax, ay]) => Math.hypot(x - ax, y - ay));
    svg.classList.add("over");
    for (const { element } of curves) element.classList.toggle("near", element === near.element);
    for (const [name, value] of Object.entries({ cx: px, cy: py, r: 4 })) dot.setAttribute(name, value);
    svg.append(dot);
    tip.textContent = `${near.name}: ${words}`;
    tip.hidden = false;
    const { width } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 8))}px`;
    tip.style.top = `${event.clientY + 16}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show); // a finger doesn't move
}

// The contents are folded where they stand above the page, and a link in them folds them again.
const nav = document.querySelector("nav"), contents = nav.querySelector("details"), wide = matchMedia("(min-width: 70rem)");
const fold = () => { contents.open = wide.matches; };
nav.classList.add("folds");
nav.addEventListener("click", (event) => { if (event.target.closest("a")) fold(); });
wide.addEventListener("change", fold);
fold();
// A link to a folded part unfolds it.
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
};
addEventListener("hashchange", unfold);
unfold();
