// The charts. Plotly reads a few HTML tags in texts, so what comes from runs is escaped for it.
(function charts() {
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;");
  const cut = (text, most = 40) => escaped(text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const CONFIG = { displayModeBar: false, responsive: true }; // dragging zooms, a double click shows all again
  const layout = (more, height) => {
    const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line"), automargin: true };
    return {
      height, margin: { l: 56, r: 16, t: 8, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style("--ink"), size: 12, family: "system-ui, sans-serif" }, hoverlabel: { align: "left" },
      ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    };
  };
  const shown = RUNS.map((run, place) => ({ ...run, place }));

  function none(place, text) {
    place.replaceChildren(element("p", { class: "muted" }, text));
  }

  function curves() {
    const lines = shown.filter((run) => run.curve.length);
    if (!lines.length) return none(at("curves"), "No run has a validation score by epoch.");
    const traces = lines.map((run) => ({
      x: run.curve.map(([epoch]) => epoch), y: run.curve.map(([, value]) => value), name: cut(run.heading), mode: run.curve.length < 40 ? "lines+markers" : "lines",
      line: { color: run.colour, width: run.best ? 3 : 1.6 }, marker: { size: 5 }, showlegend: run.place < 12,
      text: run.curve.map(() => escaped(run.heading)), hovertemplate: "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    })).reverse();
    Plotly.react("curves", traces, layout({ xaxis: { title: { text: "epoch" }, dtick: Math.max(...lines.map((run) => run.curve.length)) < 16 ? 1 : undefined },
      yaxis: { title: { text: "validation mean IoU" } }, legend: { traceorder: "reversed" }, hovermode: "closest" }, 380), CONFIG);
  }

  function parallel() {
    const axes = DATA.parallel;
    if (axes.length < 2) return none(at("parallel"), "The runs differ in no parameter.");
    const lines = shown.filter((run) => axes.every((axis) => axis.heights[run.place] !== null));
    const traces = lines.map((run) => ({
      x: axes.map((_, number) => number), y: axes.map((axis) => axis.heights[run.place]), mode: "lines", line: { color: run.colour, width: run.best ? 3.5 : 1.8 },
      opacity: run.best ? 1 : 0.8, name: cut(run.heading), showlegend: false, hoveron: "points",
      text: axes.map(() => `${escaped(run.heading)}<br>val ${score(run.val)}, test ${score(run.test)}`), hovertemplate: "%{text}<extra></extra>",
    })).reverse();
    const labels = axes.flatMap((axis, number) => axis.ticks.map(([height, text]) => ({
      x: number, y: height, text: cut(text, 24), showarrow: false, xanchor: "left", xshift: 6, font: { size: 11, color: style("--ink") }, bgcolor: style("--panel"), borderpad: 1, opacity: 0.9,
    })));
    const bars = axes.map((_, number) => ({ type: "line", x0: number, x1: number, y0: 0, y1: 1, line: { color: style("--muted"), width: 1 }, layer: "below" }));
    Plotly.react("parallel", traces, layout({
      xaxis: { tickvals: axes.map((_, number) => number), ticktext: axes.map((axis) => cut(axis.name, 30)), side: "top", showgrid: false, zeroline: false, range: [-0.12, axes.length - 0.6], fixedrange: true },
      yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true }, annotations: labels, shapes: bars, hovermode: "closest", margin: { l: 16, r: 16, t: 40, b: 12 },
    }, 340), CONFIG);
    at("parallel").removeAllListeners?.("plotly_hover");
    const fade = (place) => Plotly.restyle("parallel", { opacity: traces.map((_, number) => (place === null || number === place ? (place === null && !lines[lines.length - 1 - number].best ? 0.8 : 1) : 0.15)) });
    at("parallel").on("plotly_hover", (event) => fade(event.points[0].curveNumber));
    at("parallel").removeAllListeners?.("plotly_unhover");
    at("parallel").on("plotly_unhover", () => fade(null));
  }

  function importances() {
    const found = [...DATA.importances].reverse();
    if (!found.length) return none(at("importances"), "Too few finished runs to tell: at least four with different parameters are needed.");
    Plotly.react("importances", [{
      type: "bar", orientation: "h", y: found.map(([name]) => cut(name, 30)), x: found.map(([, value]) => value), marker: { color: style("--accent"), opacity: 0.75 },
      text: found.map(([, value]) => `${(100 * value).toFixed(0)} %`), textposition: "outside", cliponaxis: false, hoverinfo: "skip",
    }], layout({ xaxis: { tickformat: ".0%", range: [0, 1.1 * Math.max(...found.map(([, value]) => value))], title: { text: "share of the variance (fANOVA)" } }, yaxis: { showgrid: false }, bargap: 0.45 },
      110 + 34 * found.length), CONFIG);
  }

  function differences() {
    const found = DATA.differences;
    const which = Number(at("difference-class").value);
    if (!found) return none(at("differences"), "No test images that several runs predicted and whose truth is known.");
    at("differences-caption").textContent = `Difference to the best run on ${found.images} test images, with 95 % intervals`;
    const rows = found.runs.map((place, row) => ({ run: RUNS[place], middle: found.difference[row][which], low: found.low[row][which], high: found.high[row][which] }))
      .filter((row) => !row.run.best && row.middle !== null).reverse();
    const clear = (row) => row.low > 0 || row.high < 0;
    Plotly.react("differences", [{
      type: "scatter", mode: "markers", x: rows.map((row) => row.middle), y: rows.map((_, number) => number),
      marker: { size: 9, color: rows.map((row) => (clear(row) ? row.run.colour : style("--panel"))), line: { width: 2, color: rows.map((row) => row.run.colour) } },
      error_x: { type: "data", symmetric: false, array: rows.map((row) => row.high - row.middle), arrayminus: rows.map((row) => row.middle - row.low), color: style("--muted"), thickness: 1.4, width: 4 },
      text: rows.map((row) => `${escaped(row.run.heading)}<br>${row.middle.toFixed(4)} [${row.low.toFixed(4)}, ${row.high.toFixed(4)}]`), hovertemplate: "%{text}<extra></extra>",
    }], layout({ xaxis: { title: { text: "IoU minus that of the best run" }, rangemode: "tozero", zeroline: true, zerolinecolor: style("--muted"), zerolinewidth: 1.5 },
      yaxis: { tickvals: rows.map((_, number) => number), ticktext: rows.map((row) => cut(row.run.heading, 44)), showgrid: false, zeroline: false, range: [-0.7, rows.length - 0.3] } },
      110 + 34 * rows.length), CONFIG);
  }

  function perClass() {
    const runs = shown.filter((run) => run.classIou.some((value) => value !== null)).slice(0, 12);
    if (!runs.length) return none(at("per-class"), "No run has scores of the test split.");
    const names = DATA.classNames;
    const spans = names.flatMap((_, row) => {
      const values = runs.map((run) => run.classIou[row]).filter((value) => value !== null);
      return values.length ? [{ type: "line", x0: Math.min(...values), x1: Math.max(...values), y0: row, y1: row, line: { color: style("--line"), width: 5 }, layer: "below" }] : [];
    });
    const traces = runs.map((run) => ({
      type: "scatter", mode: "markers", x: run.classIou, y: names.map((_, row) => row), name: cut(run.heading), marker: { size: run.best ? 12 : 9, color: run.colour, opacity: 0.9 },
      text: names.map((name, row) => `${escaped(run.heading)}<br>${escaped(name)}: ${score(run.classIou[row])}`), hovertemplate: "%{text}<extra></extra>",
    })).reverse();
    Plotly.react("per-class", traces, layout({ shapes: spans, xaxis: { title: { text: "IoU" } }, legend: { traceorder: "reversed" }, hovermode: "closest",
      yaxis: { tickvals: names.map((_, row) => row), ticktext: names.map((name) => cut(name, 28)), range: [names.length - 0.4, -0.6], showgrid: false, zeroline: false } }, 120 + 30 * names.length), CONFIG);
  }

  at("difference-class").append(...["mean", ...DATA.classes].map((name, value) => element("option", { value }, name)));
  at("difference-class").addEventListener("change", differences);
  const all = () => [curves, parallel, differences, importances, perClass].forEach((chart) => chart());
  document.addEventListener("DOMContentLoaded", all);
  themeListeners.push(() => { if (document.readyState === "complete") all(); });
})();
