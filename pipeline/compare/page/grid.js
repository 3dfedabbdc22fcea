// The same images under every run: one canvas for each image and run, composed of photograph, truth, prediction and
// errors. Masks stay class indices until they are drawn, so a class can be taken out of all of them at once.
const grid = (() => {
  const COLUMNS = RUNS.filter((run) => run.column !== null).sort((a, b) => a.column - b.column);
  const sheet = at("sheet");
  const images = { test: DATA.test, val: DATA.val };
  const anywhere = (what) => [...DATA.test, ...DATA.val].some((image) => image[what] !== null);
  const LAYERS = [
    { name: "photograph", on: anywhere("photograph"), opacity: 1, there: anywhere("photograph") },
    { name: "truth", on: false, opacity: 0.6, there: anywhere("truth") },
    { name: "prediction", on: true, opacity: anywhere("photograph") ? 0.65 : 1, there: true },
    { name: "errors", on: false, opacity: 0.9, there: anywhere("truth") },
  ];
  const layer = Object.fromEntries(LAYERS.map((found) => [found.name, found]));
  const best = COLUMNS.find((run) => run.best) ?? COLUMNS[0];
  const state = {
    split: DATA.test.length ? "test" : "val", epoch: Math.max(0, DATA.epochs.length - 1), view: "grid", sort: "gap", filter: -1,
    a: best?.column ?? 0, b: COLUMNS.find((run) => run !== best)?.column ?? 0, zoom: 1, x: 0, y: 0, wipe: 0.5, side: {},
  };
  const hidden = new Set();
  const shownClasses = new Set([...DATA.classes.keys()].slice(1).concat(drawing.VOID)); // background lets the photograph through

  const epochKey = () => (state.split === "test" ? "0" : String(DATA.epochs[state.epoch]));
  const visible = () => COLUMNS.filter((run) => !hidden.has(run.column));
  const iou = (image, column) => image.ious[epochKey()]?.[column]?.[state.filter + 1] ?? null;

  // ---- drawing: all cells in or near the visible part, again when something changes

  let cells = []; // {canvas, image, column: number or null for the reference, note}
  const near = new Set(); // their canvases
  const working = { version: 0, painting: 0, frame: 0 };
  const tell = () => { sheet.dataset.busy = working.painting || working.frame ? "1" : "0"; };
  async function draw({ image, column, canvas, note }, version) {
    const pixels = image.width * image.height;
    const packed = column === null ? null : image.masks[epochKey()]?.[column];
    try {
      const [photograph, truth, mask] = await Promise.all([drawing.photographOf(image), drawing.indices(image.truth, pixels), drawing.indices(packed, pixels)]);
      if (version !== working.version) return;
      const strength = (name) => (layer[name].on ? layer[name].opacity : 0);
      const opacities = column === null
        ? { photograph: layer.photograph.opacity, truth: strength("prediction") || strength("truth"), prediction: 0, errors: 0 }
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
    tell();
    await Promise.all(wanted.map((cell) => draw(cell, working.version)));
    working.painting -= 1;
    tell();
  }
  function redraw() {
    working.version += 1;
    cancelAnimationFrame(working.frame);
    working.frame = requestAnimationFrame(() => {
      working.frame = 0;
      paint(cells.filter((cell) => near.has(cell.canvas)));
    });
    tell();
  }
  const observer = new IntersectionObserver((entries) => {
    const fresh = new Set();
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        if (!near.has(target)) fresh.add(target);
        near.add(target);
      } else if (near.delete(target)) {
        target.width = target.height = 1; // its memory is given back
      }
    }
    paint(cells.filter((cell) => fresh.has(cell.canvas)));
  }, { root: sheet, rootMargin: "500px" });

  // ---- rows

  function viewOf(image, columns) {
    const view = element("div", { class: `view${state.zoom > 1 ? " zoomed" : ""}` });
    view.style.aspectRatio = `${image.width} / ${image.height}`;
    view.style.maxWidth = `calc(var(--most-height) * ${image.width / image.height})`; // a tall image fits, too
    columns.forEach((column, place) => {
      const note = element("div", { class: "missing", hidden: true });
      const canvas = element("canvas", { width: 1, height: 1, "data-image": image.id, "data-column": column === null ? "reference" : String(column) });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${image.id}, ${column === null ? "photograph and truth" : COLUMNS[column].heading}`);
      view.append(element("div", { class: `layer-box${columns.length > 1 ? ` ${state.view}-${"ab"[place]}` : ""}` }, canvas, note));
      cells.push({ canvas, image, column, note });
      observer.observe(canvas);
    });
    return view;
  }
  function captionOf(image, column, top) {
    const value = iou(image, column);
    return element("div", { class: "caption", "data-iou": column }, element("span", { class: value !== null && value === top ? "top-score" : "" }, value === null ? "" : `IoU ${value.toFixed(3)}`));
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
    const wanted = images[state.split].filter((image) => state.filter < 0 || visible().some((run) => iou(image, run.column) !== null));
    const key = new Map(wanted.map((image) => [image, ORDERS[state.sort].by(image)]));
    return wanted.sort((a, b) => key.get(a) - key.get(b) || a.id.localeCompare(b.id));
  }
  function parameterLines(run) {
    if (!DATA.varying.length) return [element("b", {}, run.heading)];
    const lines = DATA.varying.slice(0, 8).map((key, place) => element("b", { class: "param" }, element("span", {}, `${key.short} `), run.params[place] ?? "–"));
    return DATA.varying.length > 8 ? [...lines, element("span", { class: "scores" }, `and ${DATA.varying.length - 8} more`)] : lines;
  }
  function columnHead(run) {
    const at_ = run.curve.find(([epoch]) => String(epoch) === epochKey());
    const scores = state.split === "test" ? ["test ", element("em", {}, score(run.test))] : ["val ", element("em", {}, score(at_ ? at_[1] : null))];
    const made = element("div", { class: "column-head", title: `${run.name} ${run.id}` }, ...parameterLines(run),
      element("span", { class: "scores" }, ...scores, run.best ? element("span", { class: "badge" }, "best") : null),
      element("span", { class: "rank", title: "place by validation" }, String(run.rank)));
    made.style.setProperty("--run", run.colour);
    return made;
  }
  function fillHead() {
    const pair = state.view !== "grid";
    const first = element("div", { class: "first" }, anywhere("truth") ? "photograph and truth" : anywhere("photograph") ? "photograph" : "image");
    at("head").replaceChildren(first, ...(pair ? [element("div", { class: "muted" }, state.view === "wipe" ? "A left of the divider, B right of it" : "A and B by turns")] : visible().map(columnHead)));
  }
  function fillRows() {
    observer.disconnect();
    near.clear();
    cells = [];
    const pair = state.view !== "grid";
    const found = ordered();
    at("rows").replaceChildren(...found.map((image) => {
      const gap = gapOf(image);
      const about = image.truth === null ? `${(100 * gap).toFixed(0)} % disagree` : `gap ${gap.toFixed(3)}`;
      const first = element("div", { class: "first" }, image.truth === null && image.photograph === null ? null : viewOf(image, [null]),
        element("div", { class: "name", title: image.id }, image.id), element("div", { class: "caption" }, about));
      const row = element("div", { class: "row", "data-image": image.id }, first);
      if (!pair) {
        const top = Math.max(...visible().map((run) => iou(image, run.column) ?? -1));
        row.append(...visible().map((run) => element("div", { class: "cell" }, viewOf(image, [run.column]), captionOf(image, run.column, top))));
        return row;
      }
      const [a, b] = [COLUMNS[state.a], COLUMNS[state.b]];
      const view = viewOf(image, [a.column, b.column]);
      view.append(element("span", { class: "tag left" }, `A  ${a.heading}`), element("span", { class: "tag right" }, `B  ${b.heading}`));
      if (state.view === "wipe") view.append(gestures.divider());
      const captions = element("div", { class: "caption" }, captionOf(image, a.column).firstChild, captionOf(image, b.column).firstChild);
      row.append(element("div", { class: "cell" }, view, captions));
      return row;
    }));
    at("no-rows").hidden = found.length > 0;
    at("status").textContent = `${found.length} ${state.split === "test" ? "test" : "validation"} images, ${visible().length} of ${COLUMNS.length} runs`
      + (images[state.split].some((image) => image.truth !== null) ? "; IoUs are those of single images" : "");
    redraw();
  }
  function captions() {
    for (const row of at("rows").children) {
      const image = images[state.split].find((found) => found.id === row.dataset.image);
      const top = Math.max(...visible().map((run) => iou(image, run.column) ?? -1));
      row.querySelectorAll("[data-iou]").forEach((old) => old.replaceWith(captionOf(image, Number(old.dataset.iou), top)));
    }
  }
  function layout() {
    const count = state.view === "grid" ? Math.max(1, visible().length) : 1;
    const kind = state.view === "grid" ? "grid" : "pair";
    const room = sheet.clientWidth - 48;
    const least = kind === "grid" ? 132 : 240;
    const fitting = Math.floor((room - 10 * count) / (count + (kind === "grid" ? 1 : 0.55)));
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
  const there = COLUMNS.length > 0 && DATA.test.length + DATA.val.length > 0;
  at("no-images").hidden = there;
  at("workbench").hidden = !there;
  if (there) {
    rebuild();
    new ResizeObserver(layout).observe(sheet);
  }
  return { COLUMNS, LAYERS, ORDERS, state, sheet, hidden, shownClasses, anywhere, gestures, show, rebuild, redraw, fillHead, fillRows, captions, layout };
})();
