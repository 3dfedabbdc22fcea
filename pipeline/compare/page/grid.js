// The grid: a row for each image, a column for each run, and in each cell a canvas with photograph, truth, prediction
// and errors. Masks are class indices until they are drawn, so that a class can be hidden everywhere at once.
const grid = (() => {
  const COLUMNS = RUNS.filter((run) => run.column !== null).sort((a, b) => a.column - b.column);
  const sheet = at("sheet");
  const images = { test: DATA.test, val: DATA.val };
  const anyHas = (layer) => [...DATA.test, ...DATA.val].some((image) => image[layer] !== null);
  const LAYERS = [
    { name: "photograph", on: anyHas("photograph"), opacity: 1, available: anyHas("photograph") },
    { name: "truth", on: false, opacity: 0.6, available: anyHas("truth") },
    { name: "prediction", on: true, opacity: anyHas("photograph") ? 0.65 : 1, available: true },
    { name: "errors", on: false, opacity: 0.9, available: anyHas("truth") },
  ];
  const layer = Object.fromEntries(LAYERS.map((entry) => [entry.name, entry]));
  const best = COLUMNS.find((run) => run.best) ?? COLUMNS[0];
  const state = {
    split: DATA.test.length ? "test" : "val",
    epoch: Math.max(0, DATA.epochs.length - 1), // its place in DATA.epochs
    view: "grid", // or "wipe", or "blink"
    sort: "gap", // a key of ORDERS
    filter: -1, // the class whose IoUs are shown; -1: the mean over classes
    a: best?.column ?? 0, // the two columns of wipe and blink
    b: COLUMNS.find((run) => run !== best)?.column ?? 0,
    zoom: 1, x: 0, y: 0, // x and y: left upper corner of the visible part, as a share of the image
    wipe: 0.5, // place of the divider
    side: {}, // width of a cell in pixels, by kind of view, once it was chosen
  };
  const hidden = new Set();
  // Without a background, which would hide the photograph.
  const shownClasses = new Set([...DATA.classes.keys(), drawing.VOID].filter((index) => index !== DATA.background));

  const epochKey = () => (state.split === "test" ? "0" : String(DATA.epochs[state.epoch]));
  const visible = () => COLUMNS.filter((run) => !hidden.has(run.column));
  const iou = (image, column) => image.ious[epochKey()]?.[column]?.[state.filter + 1] ?? null;

  // ---- drawing: all cells in or near the visible part, and again when something changes

  let cells = []; // {canvas, image, column (null: the first column, with photograph and truth), note}
  const near = new Set(); // canvases in or near the visible part
  const working = { version: 0, painting: 0, frame: 0 };
  const showBusy = () => { sheet.dataset.busy = working.painting || working.frame ? "1" : "0"; };
  async function draw({ image, column, canvas, note }, version) {
    const pixels = image.width * image.height;
    const packed = column === null ? null : image.masks[epochKey()]?.[column];
    try {
      const [photograph, truth, mask] = await Promise.all([
        drawing.photographOf(image), drawing.indices(image.truth, pixels), drawing.indices(packed, pixels),
      ]);
      if (version !== working.version) return;
      const strength = (name) => (layer[name].on ? layer[name].opacity : 0);
      const opacities = column === null
        ? { photograph: layer.photograph.opacity, truth: strength("prediction") || strength("truth") }
        : Object.fromEntries(LAYERS.map(({ name }) => [name, strength(name)]));
      note.hidden = column === null || mask !== null;
      note.textContent = state.split === "test" ? "no test prediction" : `no prediction at epoch ${epochKey()}`;
      drawing.compose(canvas, image, note.hidden ? { photograph, truth, mask } : {}, opacities, shownClasses);
    } catch (error) {
      note.hidden = false;
      note.textContent = String(error.message);
    }
  }
  async function paint(wanted) {
    working.painting += 1;
    showBusy();
    await Promise.all(wanted.map((cell) => draw(cell, working.version)));
    working.painting -= 1;
    showBusy();
  }
  function redraw() {
    working.version += 1;
    cancelAnimationFrame(working.frame);
    working.frame = requestAnimationFrame(() => {
      working.frame = 0;
      paint(cells.filter((cell) => near.has(cell.canvas)));
    });
    showBusy();
  }
  const observer = new IntersectionObserver((entries) => {
    const fresh = new Set();
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        if (!near.has(target)) fresh.add(target);
        near.add(target);
      } else if (near.delete(target)) {
        target.width = target.height = 1; // frees its memory
      }
    }
    paint(cells.filter((cell) => fresh.has(cell.canvas)));
  }, { root: sheet, rootMargin: "500px" });

  // ---- rows

  function viewOf(image, columns) {
    const view = element("div", { class: `view${state.zoom > 1 ? " zoomed" : ""}` });
    view.style.aspectRatio = `${image.width} / ${image.height}`;
    view.style.maxWidth = `calc(var(--most-height) * ${image.width / image.height})`; // so that a tall image fits, too
    columns.forEach((column, place) => {
      const note = element("div", { class: "missing", hidden: true });
      const canvas = element("canvas", {
        width: 1, height: 1, role: "img",
        "aria-label": `${image.id}, ${column === null ? "photograph and truth" : COLUMNS[column].heading}`,
        "data-image": image.id,
        "data-column": column === null ? "reference" : String(column),
      });
      const pair = columns.length > 1 ? ` ${state.view}-${"ab"[place]}` : "";
      view.append(element("div", { class: `layer-box${pair}` }, canvas, note));
      cells.push({ canvas, image, column, note });
      observer.observe(canvas);
    });
    return view;
  }
  function captionOf(image, column, top) {
    const value = iou(image, column);
    const text = value === null ? "" : `IoU ${value.toFixed(3)}`;
    const kind = value !== null && value === top ? "top-score" : "";
    return element("div", { class: "caption", "data-iou": column }, element("span", { class: kind }, text));
  }
  function gapOf(image) {
    if (image.truth === null) return image.disagreement ?? 0;
    const values = visible().map((run) => iou(image, run.column)).filter((value) => value !== null);
    return values.length > 1 ? Math.max(...values) - Math.min(...values) : 0;
  }
  const ORDERS = {
    gap: { name: "largest IoU gap", by: (image) => -gapOf(image) },
    worst: { name: "best run's lowest IoU", by: (image) => iou(image, best?.column) ?? 2 },
    name: { name: "image id", by: () => 0 },
  };
  function ordered() {
    const hasClass = (image) => visible().some((run) => iou(image, run.column) !== null);
    const wanted = images[state.split].filter((image) => state.filter < 0 || hasClass(image));
    const key = new Map(wanted.map((image) => [image, ORDERS[state.sort].by(image)]));
    return wanted.sort((a, b) => key.get(a) - key.get(b) || a.id.localeCompare(b.id));
  }
  function parameterLines(run) {
    if (!DATA.varying.length) return [element("b", {}, run.heading)];
    const lines = DATA.varying.slice(0, 8).map((key, place) => (
      element("b", { class: "param" }, element("span", {}, `${key.short} `), run.params[place] ?? "–")
    ));
    const more = DATA.varying.length - lines.length;
    return more ? [...lines, element("span", { class: "scores" }, `and ${more} more`)] : lines;
  }
  function columnHead(run) {
    const point = run.curve.find(([epoch]) => String(epoch) === epochKey());
    const value = state.split === "test" ? run.test : point?.[1];
    const head = element("div", { class: "column-head", title: `${run.name} ${run.id}` }, ...parameterLines(run),
      element("span", { class: "scores" }, `${state.split} `, element("em", {}, score(value)),
        run.best ? element("span", { class: "badge" }, "best") : null),
      element("span", { class: "rank", title: "rank by validation score" }, String(run.rank)));
    head.style.setProperty("--run", run.colour);
    return head;
  }
  function fillHead() {
    const pair = state.view !== "grid";
    const name = anyHas("truth") ? "photograph and truth" : anyHas("photograph") ? "photograph" : "image";
    const about = state.view === "wipe" ? "A left of the divider, B right of it" : "A and B in turn";
    const columns = pair ? [element("div", { class: "muted" }, about)] : visible().map(columnHead);
    at("head").replaceChildren(element("div", { class: "first" }, name), ...columns);
  }
  function fillRows() {
    observer.disconnect();
    near.clear();
    cells = [];
    const pair = state.view !== "grid";
    const shown = ordered();
    at("rows").replaceChildren(...shown.map((image) => {
      const gap = gapOf(image);
      const about = image.truth === null ? `${(100 * gap).toFixed(0)} % disagree` : `gap ${gap.toFixed(3)}`;
      const isKnown = image.truth !== null || image.photograph !== null;
      const first = element("div", { class: "first" }, isKnown ? viewOf(image, [null]) : null,
        element("div", { class: "name", title: image.id }, image.id), element("div", { class: "caption" }, about));
      const row = element("div", { class: "row", "data-image": image.id }, first);
      if (!pair) {
        const top = Math.max(...visible().map((run) => iou(image, run.column) ?? -1));
        row.append(...visible().map((run) => (
          element("div", { class: "cell" }, viewOf(image, [run.column]), captionOf(image, run.column, top))
        )));
        return row;
      }
      const [a, b] = [COLUMNS[state.a], COLUMNS[state.b]];
      const view = viewOf(image, [a.column, b.column]);
      view.append(element("span", { class: "tag left" }, `A  ${a.heading}`));
      view.append(element("span", { class: "tag right" }, `B  ${b.heading}`));
      if (state.view === "wipe") view.append(gestures.divider());
      const captions = [a, b].map((run) => captionOf(image, run.column).firstChild);
      row.append(element("div", { class: "cell" }, view, element("div", { class: "caption" }, ...captions)));
      return row;
    }));
    at("no-rows").hidden = shown.length > 0;
    const kind = state.split === "test" ? "test" : "validation";
    at("status").textContent = `${shown.length} ${kind} images, ${visible().length} of ${COLUMNS.length} runs`
      + (images[state.split].some((image) => image.truth !== null) ? "; IoUs are of single images" : "");
    redraw();
  }
  function captions() {
    for (const row of at("rows").children) {
      const image = images[state.split].find(({ id }) => id === row.dataset.image);
      const top = Math.max(...visible().map((run) => iou(image, run.column) ?? -1));
      row.querySelectorAll("[data-iou]").forEach((old) => old.replaceWith(captionOf(image, Number(old.dataset.iou), top)));
    }
  }
  function layout() {
    const count = state.view === "grid" ? Math.max(1, visible().length) : 1;
    const kind = state.view === "grid" ? "grid" : "pair";
    const available = sheet.clientWidth - 48;
    const least = kind === "grid" ? 132 : 240;
    const fitting = Math.floor((available - 10 * count) / (count + (kind === "grid" ? 1 : 0.55)));
    const side = state.side[kind] ?? Math.max(least, Math.min(kind === "grid" ? 300 : 560, fitting));
    at("size").max = kind === "grid" ? 520 : 1000;
    at("size").value = side;
    at("size-shown").textContent = `${side} px`;
    sheet.style.setProperty("--side", `${side}px`);
    sheet.style.setProperty("--first", `${Math.round(kind === "grid" ? side : Math.min(side * 0.55, 360))}px`);
    sheet.style.setProperty("--columns", count);
    sheet.style.setProperty("--most-height", `${Math.max(200, sheet.clientHeight - 150)}px`);
  }
  function rebuild() {
    layout();
    fillHead();
    fillRows();
  }

  function show(column, on) {
    if (on) hidden.delete(column); else hidden.add(column);
    rebuild();
  }
  const gestures = linkGestures(sheet, state);
  const hasImages = COLUMNS.length > 0 && DATA.test.length + DATA.val.length > 0;
  at("no-images").hidden = hasImages;
  at("workbench").hidden = !hasImages;
  if (hasImages) {
    rebuild();
    new ResizeObserver(layout).observe(sheet);
  }
  return {
    COLUMNS, LAYERS, ORDERS, state, sheet, hidden, shownClasses, anyHas, gestures,
    show, rebuild, redraw, fillHead, fillRows, captions, layout,
  };
})();
