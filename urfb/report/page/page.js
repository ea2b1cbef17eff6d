"use strict";
// Sort and filter the table of runs, and show the details of a run on demand. All text is set as textContent, never as
// HTML, because a store may contain any text.
(() => {
  const table = document.getElementById("run-table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const words = rows.map((row) => Array.from(row.cells, (cell) => cell.textContent).join(" ").toLowerCase());
  const unfolded = new Map(); // row → the row with its details
  const collator = new Intl.Collator(undefined, { numeric: true });

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function vector(name, attributes = {}, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  // Sorting. Rows without a value stay last; equal rows keep their order.
  function sort(column) {
    const descending = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head, at) => {
      head.setAttribute("aria-sort", at !== column ? "none" : descending ? "descending" : "ascending");
    });
    const numeric = heads[column].dataset.kind === "number";
    const keys = new Map(rows.map((row) => {
      const text = row.cells[column].textContent;
      return [row, numeric ? parseFloat(text.replaceAll(",", "")) : text];
    }));
    const absent = (key) => key === "" || Number.isNaN(key);
    const sign = descending ? -1 : 1;
    rows.sort((first, second) => {
      const [a, b] = [keys.get(first), keys.get(second)];
      if (absent(a) || absent(b)) return absent(a) - absent(b);
      return sign * (numeric ? a - b : collator.compare(a, b));
    });
    const sorted = document.createDocumentFragment();
    for (const row of rows) {
      sorted.append(row);
      if (unfolded.has(row)) sorted.append(unfolded.get(row));
    }
    body.append(sorted);
    apply();
  }
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));

  // Filtering.
  const filter = document.getElementById("run-filter");
  const state = document.getElementById("run-state");
  const count = document.getElementById("run-count");
  const showAll = document.getElementById("run-all");
  const text = new Map(rows.map((row, at) => [row, words[at]]));
  let most = Number(table.dataset.shown);
  function apply() {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matching = 0;
    for (const row of rows) {
      const matches = wanted.every((word) => text.get(row).includes(word))
        && (!state.value || row.cells[1].textContent === state.value);
      matching += matches;
      row.hidden = !matches || matching > most;
      if (unfolded.has(row)) unfolded.get(row).hidden = row.hidden || !isOpen(row);
    }
    const all = `${rows.length.toLocaleString("en")} run${rows.length === 1 ? "" : "s"}`;
    const counted = matching === rows.length ? all : `${matching.toLocaleString("en")} of ${all}`;
    count.textContent = matching > most ? `${counted}, the first ${most.toLocaleString("en")} shown` : counted;
    showAll.hidden = matching <= most;
  }
  function unlimited() {
    most = Infinity;
    apply();
  }
  showAll.addEventListener("click", () => {
    unlimited();
    table.parentElement.focus(); // because the button disappears
  });
  filter.addEventListener("input", apply);
  state.addEventListener("change", apply);

  // Unfolding.
  let all = null;
  function details() {
    all ??= JSON.parse(document.getElementById("run-details").textContent);
    return all;
  }
  const opener = (row) => row.cells[0].firstElementChild;
  const isOpen = (row) => opener(row).getAttribute("aria-expanded") === "true";
  function unfold(row, open) {
    if (open && !unfolded.has(row)) {
      const below = element("tr", { class: "details", id: `details-${row.dataset.number}` });
      below.append(element("td", { colspan: heads.length }, inside(row)));
      row.after(below);
      unfolded.set(row, below);
      opener(row).setAttribute("aria-controls", below.id);
    }
    opener(row).setAttribute("aria-expanded", open);
    if (unfolded.has(row)) unfolded.get(row).hidden = !open;
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest("th > button");
    if (button) unfold(button.closest("tr"), !isOpen(button.closest("tr")));
  });

  function inside(row) {
    const { settings, provenance, runs } = details();
    const run = runs[row.dataset.number];
    const made = element("div", { class: "inside" });
    if (run.failure) {
      const [reason, traceback] = run.failure;
      const part = element("section", { class: "failure whole" }, element("h3", {}, "Failed"), element("p", {}, reason));
      if (traceback) part.append(scrolled("Traceback", traceback));
      made.append(part);
    }
    if (run.errors) {
      const series = Object.entries(run.errors).map(([name, [x, y]], at) => (
        { name, x, y, colour: 0, dashes: name === "training" ? "" : "2 4" }
      ));
      made.append(chart("Error by epoch", "error (%)", series, 0, "%"));
    }
    if (run.alignment) {
      const { layers, epochs, correlations } = run.alignment;
      const dashes = ["", "6 3", "2 4", "8 3 2 3"];
      const series = layers.map((name, at) => (
        { name, x: epochs, y: correlations[at], colour: at % 7, dashes: dashes[at % dashes.length] }
      ));
      made.append(chart("Correlation of W and Rᵗ by epoch, for each layer", "correlation", series, 0, ""));
    }
    made.append(list("Settings", settings, run.settings), list("Provenance", provenance, run.provenance));
    if (run.log) {
      made.append(element("section", { class: "whole" }, element("h3", {}, "End of the log"), scrolled("Log", run.log)));
    }
    return made;
  }

  function scrolled(name, words) {
    return element("pre", { tabindex: 0, role: "region", "aria-label": name }, words);
  }

  function list(title, names, values) {
    const made = element("dl");
    names.forEach((name, at) => {
      if (values[at] !== null) made.append(element("dt", {}, name), element("dd", {}, values[at]));
    });
    return element("section", {}, element("h3", {}, title), made);
  }

  // Charts.
  const nice = (span) => {
    const unit = 10 ** Math.floor(Math.log10(span / 4));
    return unit * [1, 2, 5, 10].find((step) => span / (step * unit) <= 5);
  };

  function chart(title, label, series, lowest, unit) {
    const [width, height, left, bottom, top] = [400, 240, 40, 36, 8];
    const points = series.flatMap(({ x, y }) => x.map((at, number) => [at, y[number]])).filter((point) => point[1] !== null);
    const last = Math.max(1, ...points.map((point) => point[0]));
    const low = Math.min(lowest, ...points.map((point) => point[1]));
    const high = Math.max(low + 0.1, ...points.map((point) => point[1]));
    const right = (value) => left + (value / last) * (width - left - 8);
    const up = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - top);
    const described = series.map(({ name, y }) => {
      const values = y.filter((value) => value !== null);
      return `${name} from ${values[0]} to ${values.at(-1)}${unit && ` ${unit}`}`;
    });
    const picture = vector("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.setAttribute("aria-label", `${title}: ${described.join("; ")}, over ${last.toLocaleString("en")} epochs`);
    const [step, across] = [nice(high - low), nice(last)];
    for (let number = Math.ceil(low / step); number * step <= high * 1.0001; number += 1) {
      const [value, y] = [number * step, up(number * step)];
      picture.append(vector("line", { class: "axis", x1: left, x2: width - 8, y1: y, y2: y }));
      picture.append(vector("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, `${+value.toPrecision(3)}`));
    }
    for (let value = 0; value <= last; value += across) {
      const at = { x: right(value), y: height - bottom + 16, "text-anchor": "middle" };
      picture.append(vector("text", at, value.toLocaleString("en")));
    }
    picture.append(vector("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "epoch"));
    const turned = { transform: `translate(10 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
    picture.append(vector("text", turned, label));
    const legend = element("ul");
    for (const { name, x, y, colour, dashes } of series) {
      const drawn = x.map((at, number) => [at, y[number]]).filter((point) => point[1] !== null);
      const style = { class: `line-${colour}`, "stroke-dasharray": dashes };
      const path = drawn.map(([at, value]) => `${right(at).toFixed(1)},${up(value).toFixed(1)}`);
      if (path.length === 1) { // a line of one point is invisible
        const [cx, cy] = path[0].split(",");
        picture.append(vector("circle", { cx, cy, r: 3, fill: "currentcolor", class: style.class }));
      }
      picture.append(vector("polyline", { ...style, points: path.join(" ") }));
      const sample = vector("svg", { viewBox: "0 0 32 11", "aria-hidden": "true" });
      sample.append(vector("line", { ...style, x1: 0, x2: 32, y1: 6, y2: 6, "stroke-width": 2 }));
      legend.append(element("li", {}, sample, name));
    }
    return element("section", { class: "chart" }, element("h3", {}, title), picture, legend);
  }

  // A link to a run opens it.
  function visit() {
    let id;
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch {
      return;
    }
    const row = rows.find((candidate) => candidate.id === id);
    if (!row) return;
    if (row.hidden) {
      filter.value = state.value = "";
      unlimited();
    }
    unfold(row, true);
    row.scrollIntoView({ block: "center" });
    opener(row).focus({ preventScroll: true });
  }
  apply();
  addEventListener("hashchange", visit);
  visit();
})();
