"use strict";
// The page's data, building elements, the theme, the summary and the tables.
// Texts of runs are only ever inserted as text, never as HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
RUNS.forEach((run, place) => { run.rank = place + 1; });
const at = (id) => document.getElementById(id);

/** An element with properties, attributes (those with a dash) and children. */
function element(tag, properties = {}, ...children) {
  const built = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") built.setAttribute(key, value);
    else if (key === "class") built.className = value;
    else built[key] = value;
  }
  built.append(...children.filter((child) => child !== null));
  return built;
}

const score = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));
// A difference, with the ends of its interval where it has one: a single image has none.
const withInterval = (show, middle, low, high) => (
  middle === null ? "–" : low === null ? show(middle) : `${show(middle)} [${show(low)}, ${show(high)}]`
);
const testImages = (count) => `${count} test image${count === 1 ? "" : "s"}`;
const minutes = (value) => (value === null ? "–" : value < 10 ? value.toFixed(1) : value.toFixed(0));
function dot(colour) {
  const circle = element("span", { class: "dot" });
  circle.style.background = colour;
  return circle;
}

// ---- theme

const themeListeners = [];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  themeListeners.forEach((listener) => listener());
}
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
setTheme(darkScheme.matches ? "dark" : "light");
darkScheme.addEventListener("change", () => setTheme(darkScheme.matches ? "dark" : "light"));
at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

// ---- heading and summary

const finished = RUNS.filter((run) => run.status === "finished").length;
at("title").textContent = DATA.title;
at("subtitle").textContent = `${RUNS.length} run${RUNS.length === 1 ? "" : "s"}, ${finished} finished`
  + (DATA.varying.length ? `; they differ in ${DATA.varying.map((key) => key.key).join(", ")}` : "");

(function summary() {
  const best = RUNS.find((run) => run.best);
  const place = at("summary");
  if (!best) {
    place.append(element("p", { class: "muted" }, "No run finished with a validation score."));
    return;
  }
  const figure = (value, name) => element("div", { class: "figure" }, element("b", {}, value), element("span", {}, name));
  place.append(figure(best.heading, "best run, by validation"), figure(score(best.val), "validation mean IoU"),
    figure(score(best.test), "test mean IoU"), figure(minutes(best.minutes), "minutes"));
  const copy = element("button", { type: "button", title: "Copy the command that repeats this run" }, "Copy");
  const command = element("code", { tabIndex: 0 }, DATA.command);
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(DATA.command); } catch {
      getSelection().selectAllChildren(command);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  place.append(element("div", { class: "command" }, command, copy));
})();

// ---- the table of runs

(function runTable() {
  const known = (pick) => RUNS.some((run) => pick(run) !== null && pick(run) !== undefined);
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const differences = new Map((DATA.differences?.runs ?? []).map((place, row) => (
    [RUNS[place], ["difference", "low", "high"].map((part) => DATA.differences[part][row][0])]
  )));
  const varies = new Set(RUNS.map((run) => run.name)).size > 1;
  const columns = [
    ...(varies || !DATA.varying.length ? [{ name: "run", text: true, value: (run) => run.name }] : []),
    ...DATA.varying.map((key, place) => (
      { name: key.short, title: key.key, value: (run) => run.params[place], parameter: true }
    )),
    { name: "val mIoU", value: (run) => run.val, show: (run) => score(run.val), bar: true },
    { name: "test mIoU", value: (run) => run.test, show: (run) => score(run.test), bar: true },
    ...(differences.size ? [{
      name: DATA.differences.images > 1 ? "difference, 95 %" : "difference",
      title: `test mean IoU minus that of the best run, on ${testImages(DATA.differences.images)}`
        + (DATA.differences.images > 1 ? ", with a bootstrap interval" : ""),
      value: (run) => differences.get(run)?.[0] ?? null,
      show: (run) => (run.best || !differences.has(run) ? "–" : withInterval(signed, ...differences.get(run))),
    }] : []),
    { name: "best epoch", value: (run) => run.bestEpoch, show: (run) => score(run.bestEpoch, 0) },
    { name: "minutes", value: (run) => run.minutes, show: (run) => minutes(run.minutes) },
    ...(known((run) => run.parameters) ? [{ name: "parameters", value: (run) => run.parameters,
      show: (run) => (run.parameters === null ? "–" : run.parameters.toLocaleString("en")) }] : []),
    { name: "status", text: true, value: (run) => run.status },
    // Last: with many varying parameters, a table of this width scrolls.
    ...DATA.testScores.map(({ name, metric }) => (
      { name, title: metric, value: (run) => run.testScores[name], show: (run) => score(run.testScores[name]) }
    )),
  ];
  const number = (value) => (value !== null && value !== "" && Number.isFinite(Number(value)) ? Number(value) : null);
  const sorting = { column: null, down: true };
  const head = element("tr", {}, element("th", { class: "text" }, ""));
  const body = element("tbody");

  function compare(first, second, column) {
    const [a, b] = [column.value(first) ?? null, column.value(second) ?? null];
    if (a === null || b === null) return (a === null) - (b === null); // runs without a value come last
    const [x, y] = [number(a), number(b)];
    const order = x !== null && y !== null ? x - y : String(a).localeCompare(String(b));
    return sorting.down ? -order : order;
  }
  function fill() {
    const order = sorting.column ? [...RUNS].sort((a, b) => compare(a, b, sorting.column)) : RUNS;
    body.replaceChildren(...order.map((run) => {
      const kind = run.best ? "best" : run.status === "finished" ? "" : "unfinished";
      const row = element("tr", { class: kind, title: run.failure || run.id });
      const box = element("input", {
        type: "checkbox",
        checked: run.column !== null && !grid.hidden.has(run.column),
        disabled: run.column === null,
        title: run.column === null ? "has no column among the images" : "shown among the images",
        "aria-label": `Show ${run.heading} among the images`,
      });
      box.addEventListener("change", () => grid.show(run.column, box.checked));
      const badge = run.best ? element("span", { class: "badge" }, "best") : null;
      const mark = element("td", { class: "text" }, box, " ", dot(run.colour), ` ${run.rank}`, badge);
      row.append(mark, ...columns.map((column) => {
        const shown = column.show ? column.show(run) : column.value(run) ?? "–";
        const cell = element("td", { class: column.text ? "text" : "" }, shown);
        if (column.bar) {
          const room = element("span", { class: "bar-room" });
          const bar = element("span", { class: "bar" });
          bar.style.width = `${4 * Math.max(0, Math.min(1, column.value(run) ?? 0))}rem`;
          room.append(bar);
          cell.append(room);
        }
        return cell;
      }));
      return row;
    }));
  }
  columns.forEach((column) => {
    const button = element("button", { type: "button", title: column.title ?? "" }, column.name);
    const cell = element("th", { scope: "col", class: column.text ? "text" : "" }, button);
    button.addEventListener("click", () => {
      sorting.down = sorting.column === column ? !sorting.down : !(column.text || column.parameter);
      sorting.column = column;
      head.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      fill();
    });
    head.append(cell);
  });
  at("run-table").append(element("thead", {}, head), body);
  document.addEventListener("DOMContentLoaded", fill);
})();

(function replicates() {
  if (!DATA.replicates.length) return;
  const spread = (pair) => (pair ? `${pair[0].toFixed(4)} ± ${pair[1].toFixed(4)}` : "–");
  const keys = DATA.replicates[0].params.map(([key]) => key);
  const short = Object.fromEntries(DATA.varying.map((key) => [key.key, key.short]));
  const names = [...keys.map((key) => short[key]), DATA.repeated, "val mIoU", "test mIoU"];
  const head = element("tr", {}, ...names.map((name) => element("th", {}, name)));
  const rows = DATA.replicates.map((group) => {
    const cells = [...group.params.map(([, value]) => value), group.count, spread(group.val), spread(group.test)];
    return element("tr", {}, ...cells.map((text) => element("td", {}, String(text))));
  });
  at("replicates").append(element("h3", {}, `Over ${DATA.repeated}, mean ± standard deviation`),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
})();

if (DATA.notes.length) {
  at("notes").hidden = false;
  at("note-list").append(...DATA.notes.map((note) => element("li", {}, note)));
}
