// The charts. Plotly interprets some HTML tags in texts, so texts of runs are escaped for it.
(function charts() {
  const escaped = (text) => String(text)
    .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;");
  const cut = (text, most = 40) => escaped(text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const CONFIG = { displayModeBar: false, responsive: true }; // dragging zooms in, a double click resets
  const shown = RUNS.map((run, place) => ({ ...run, place }));

  /** Plotly's layout in the colours of the theme; `more` is added to it. */
  function layout(more, height) {
    const line = style("--line");
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    return {
      height,
      margin: { l: 56, r: 16, t: 8, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style("--ink"), size: 12, family: "system-ui, sans-serif" },
      hoverlabel: { align: "left" },
      ...more,
      xaxis: { ...axis, ...more.xaxis },
      yaxis: { ...axis, ...more.yaxis },
    };
  }
  function showNothing(place, text) {
    place.replaceChildren(element("p", { class: "muted" }, text));
  }

  function curves() {
    const runs = shown.filter((run) => run.curve.length);
    if (!runs.length) return showNothing(at("curves"), "No run has a validation score by epoch.");
    const traces = runs.map((run) => ({
      x: run.curve.map(([epoch]) => epoch),
      y: run.curve.map(([, value]) => value),
      name: cut(run.heading),
      mode: run.curve.length < 40 ? "lines+markers" : "lines",
      line: { color: run.colour, width: run.best ? 3 : 1.6 },
      marker: { size: 5 },
      showlegend: run.place < 12,
      text: run.curve.map(() => escaped(run.heading)),
      hovertemplate: "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    })).reverse();
    const longest = Math.max(...runs.map((run) => run.curve.length));
    Plotly.react("curves", traces, layout({
      xaxis: { title: { text: "epoch" }, dtick: longest < 16 ? 1 : undefined },
      yaxis: { title: { text: "validation mean IoU" } },
      legend: { traceorder: "reversed" },
      hovermode: "closest",
    }, 380), CONFIG);
  }

  function parallel() {
    const axes = DATA.parallel;
    if (axes.length < 2) return showNothing(at("parallel"), "The runs do not differ in any parameter.");
    const numbers = axes.map((_, number) => number);
    const runs = shown.filter((run) => axes.every((axis) => axis.heights[run.place] !== null)).reverse();
    const usual = runs.map((run) => (run.best ? 1 : 0.8)); // opacities
    const traces = runs.map((run, number) => {
      const text = `${escaped(run.heading)}<br>val ${score(run.val)}, test ${score(run.test)}`;
      return {
        x: numbers,
        y: axes.map((axis) => axis.heights[run.place]),
        mode: "lines",
        line: { color: run.colour, width: run.best ? 3.5 : 1.8 },
        opacity: usual[number],
        name: cut(run.heading),
        showlegend: false,
        hoveron: "points",
        text: axes.map(() => text),
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    const labels = axes.flatMap((axis, number) => axis.ticks.map(([height, text]) => ({
      x: number, y: height, text: cut(text, 24), showarrow: false, xanchor: "left", xshift: 6,
      font: { size: 11, color: style("--ink") }, bgcolor: style("--panel"), borderpad: 1, opacity: 0.9,
    })));
    const bars = numbers.map((number) => ({
      type: "line", x0: number, x1: number, y0: 0, y1: 1, line: { color: style("--muted"), width: 1 }, layer: "below",
    }));
    Plotly.react("parallel", traces, layout({
      xaxis: {
        tickvals: numbers, ticktext: axes.map((axis) => cut(axis.name, 30)), side: "top",
        showgrid: false, zeroline: false, range: [-0.12, axes.length - 0.6], fixedrange: true,
      },
      yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true },
      annotations: labels,
      shapes: bars,
      hovermode: "closest",
      margin: { l: 16, r: 16, t: 40, b: 12 },
    }, 340), CONFIG);
    const setOpacity = (opacity) => Plotly.restyle("parallel", { opacity });
    const handlers = {
      plotly_hover: (event) => setOpacity(runs.map((_, number) => (number === event.points[0].curveNumber ? 1 : 0.15))),
      plotly_unhover: () => setOpacity(usual),
    };
    for (const [name, handler] of Object.entries(handlers)) {
      at("parallel").removeAllListeners?.(name);
      at("parallel").on(name, handler);
    }
  }

  function importances() {
    const rows = [...DATA.importances].reverse();
    if (!rows.length) {
      const text = "Too few finished runs: at least four with different parameters are needed.";
      return showNothing(at("importances"), text);
    }
    const shares = rows.map(([, value]) => value);
    Plotly.react("importances", [{
      type: "bar",
      orientation: "h",
      y: rows.map(([name]) => cut(name, 30)),
      x: shares,
      marker: { color: style("--accent"), opacity: 0.75 },
      text: shares.map((value) => `${(100 * value).toFixed(0)} %`),
      textposition: "outside",
      cliponaxis: false,
      hoverinfo: "skip",
    }], layout({
      xaxis: { tickformat: ".0%", range: [0, 1.1 * Math.max(...shares)], title: { text: "share of the variance (fANOVA)" } },
      yaxis: { showgrid: false },
      bargap: 0.45,
    }, 110 + 34 * rows.length), CONFIG);
  }

  function differences() {
    const data = DATA.differences;
    const which = Number(at("difference-class").value);
    if (!data) {
      const text = "True masks, or predictions of the same test images by the best run and another one, are missing.";
      return showNothing(at("differences"), text);
    }
    at("differences-caption").textContent =
      `Difference from the best run on ${testImages(data.images)}${data.images > 1 ? ", with 95 % intervals" : ""}`;
    const rows = data.runs.map((place, row) => ({
      run: RUNS[place],
      middle: data.difference[row][which],
      low: data.low[row][which],
      high: data.high[row][which],
    })).filter((row) => !row.run.best && row.middle !== null).reverse();
    const hasInterval = (row) => row.low !== null && row.high !== null;
    const isClear = (row) => hasInterval(row) && (row.low > 0 || row.high < 0); // the interval does not contain 0
    const bar = (row, length) => (hasInterval(row) ? length : 0);
    const interval = ({ middle, low, high }) => withInterval((value) => value.toFixed(4), middle, low, high);
    Plotly.react("differences", [{
      type: "scatter",
      mode: "markers",
      x: rows.map((row) => row.middle),
      y: rows.map((_, number) => number),
      marker: {
        size: 9,
        color: rows.map((row) => (isClear(row) ? row.run.colour : style("--panel"))),
        line: { width: 2, color: rows.map((row) => row.run.colour) },
      },
      error_x: {
        type: "data",
        symmetric: false,
        array: rows.map((row) => bar(row, row.high - row.middle)),
        arrayminus: rows.map((row) => bar(row, row.middle - row.low)),
        color: style("--muted"), thickness: 1.4, width: 4,
      },
      text: rows.map((row) => `${escaped(row.run.heading)}<br>${interval(row)}`),
      hovertemplate: "%{text}<extra></extra>",
    }], layout({
      xaxis: {
        title: { text: "IoU minus that of the best run" }, rangemode: "tozero",
        zeroline: true, zerolinecolor: style("--muted"), zerolinewidth: 1.5,
      },
      yaxis: {
        tickvals: rows.map((_, number) => number), ticktext: rows.map((row) => cut(row.run.heading, 44)),
        showgrid: false, zeroline: false, range: [-0.7, rows.length - 0.3],
      },
    }, 110 + 34 * rows.length), CONFIG);
  }

  function perClass() {
    const which = at("class-score").value;
    const scores = (run) => run.classScores[which] ?? DATA.classNames.map(() => null);
    const runs = shown.filter((run) => scores(run).some((value) => value !== null)).slice(0, 12);
    if (!runs.length) return showNothing(at("per-class"), "No run has scores of the test split.");
    const names = DATA.classNames;
    const numbers = names.map((_, row) => row);
    const spans = numbers.flatMap((row) => { // from the lowest to the highest score
      const values = runs.map((run) => scores(run)[row]).filter((value) => value !== null);
      if (!values.length) return [];
      return [{
        type: "line", x0: Math.min(...values), x1: Math.max(...values), y0: row, y1: row,
        line: { color: style("--line"), width: 5 }, layer: "below",
      }];
    });
    const traces = runs.map((run) => ({
      type: "scatter",
      mode: "markers",
      x: scores(run),
      y: numbers,
      name: cut(run.heading),
      marker: { size: run.best ? 12 : 9, color: run.colour, opacity: 0.9 },
      text: names.map((name, row) => `${escaped(run.heading)}<br>${escaped(name)}: ${score(scores(run)[row])}`),
      hovertemplate: "%{text}<extra></extra>",
    })).reverse();
    Plotly.react("per-class", traces, layout({
      shapes: spans,
      xaxis: { title: { text: which } },
      yaxis: {
        tickvals: numbers, ticktext: names.map((name) => cut(name, 28)), range: [names.length - 0.4, -0.6],
        showgrid: false, zeroline: false,
      },
      legend: { traceorder: "reversed" },
      hovermode: "closest",
    }, 120 + 30 * names.length), CONFIG);
  }

  at("difference-class").append(...["mean", ...DATA.classes].map((name, value) => element("option", { value }, name)));
  at("difference-class").addEventListener("change", differences);
  at("class-score").append(...DATA.classScores.map((name) => element("option", { value: name }, name)));
  at("class-score").addEventListener("change", perClass);
  const drawAll = () => [curves, parallel, differences, importances, perClass].forEach((chart) => chart());
  document.addEventListener("DOMContentLoaded", drawAll);
  themeListeners.push(() => { if (document.readyState === "complete") drawAll(); });
})();
