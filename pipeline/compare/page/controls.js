// The controls next to the grid, and their keys.
(function controls() {
  const { COLUMNS, LAYERS, ORDERS, state, sheet, shownClasses, anyHas, gestures } = grid;
  const { rebuild, redraw, fillHead, fillRows, captions, layout } = grid;

  // ---- blinking

  let timer = 0;
  const flip = () => { sheet.dataset.shown = sheet.dataset.shown === "b" ? "a" : "b"; };
  function setBlink() {
    clearInterval(timer);
    at("blink-row").hidden = at("blink-run").hidden = state.view !== "blink";
    at("blink-shown").textContent = `${Number(at("blink-seconds").value).toFixed(1)} s`;
    at("blink-run").textContent = state.blinking ? "Stop blinking" : "Blink";
    sheet.dataset.shown ??= "a";
    if (state.view === "blink" && state.blinking) timer = setInterval(flip, 1000 * at("blink-seconds").value);
  }
  at("blink-seconds").addEventListener("input", setBlink);
  at("blink-run").addEventListener("click", () => { state.blinking = !state.blinking; setBlink(); });
  state.blinking = !matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- what is shown

  function segments(place, choices, current, choose) {
    const buttons = choices.map(([value, name, available]) => (
      element("button", { type: "button", disabled: !available, "data-value": value }, name)
    ));
    const mark = () => buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.value === current()));
    });
    mark();
    buttons.forEach((button) => button.addEventListener("click", () => { choose(button.dataset.value); mark(); }));
    at(place).append(...buttons);
    return (value) => { choose(value); mark(); };
  }
  function options(place, choices, value, choose) {
    at(place).append(...choices.map(([key, name]) => element("option", { value: key }, name)));
    at(place).value = value;
    at(place).addEventListener("change", () => choose(at(place).value));
  }
  const showSplit = () => { at("epoch-row").hidden = state.split === "test"; };
  const splits = [["val", "Validation", DATA.val.length > 0], ["test", "Test", DATA.test.length > 0]];
  segments("split", splits, () => state.split, (value) => {
    state.split = value;
    showSplit();
    rebuild();
  });
  const views = [["grid", "Grid", true], ["wipe", "Wipe", COLUMNS.length > 1], ["blink", "Blink", COLUMNS.length > 1]];
  const chooseView = segments("view", views, () => state.view, (value) => {
    state.view = value;
    at("pair").hidden = value === "grid";
    rebuild();
    setBlink();
  });
  at("epoch").max = Math.max(0, DATA.epochs.length - 1);
  at("epoch").value = state.epoch;
  function setEpoch(place) {
    state.epoch = Math.max(0, Math.min(DATA.epochs.length - 1, place));
    at("epoch").value = state.epoch;
    at("epoch-shown").textContent = DATA.epochs.length ? `${DATA.epochs[state.epoch]} of ${DATA.epochs.at(-1)}` : "";
  }
  at("epoch").addEventListener("input", () => { setEpoch(Number(at("epoch").value)); fillHead(); captions(); redraw(); });
  at("epoch").addEventListener("change", fillRows);
  const runs = COLUMNS.map((run) => [run.column, `${run.rank}  ${run.heading}`]);
  const orders = Object.entries(ORDERS).map(([key, order]) => [key, order.name]);
  const classes = [[-1, "any"], ...DATA.classes.map((name, place) => [place, name])];
  options("run-a", runs, state.a, (value) => { state.a = Number(value); fillRows(); });
  options("run-b", runs, state.b, (value) => { state.b = Number(value); fillRows(); });
  options("sort", orders, state.sort, (value) => { state.sort = value; fillRows(); });
  options("filter", classes, state.filter, (value) => { state.filter = Number(value); fillRows(); });
  at("filter").disabled = !anyHas("truth");
  at("size").addEventListener("input", () => {
    state.side[state.view === "grid" ? "grid" : "pair"] = Number(at("size").value);
    layout();
  });

  for (const layer of LAYERS) {
    const box = element("input", { type: "checkbox", checked: layer.on, disabled: !layer.available });
    const range = element("input", {
      type: "range", min: 0, max: 100, value: 100 * layer.opacity, disabled: !layer.available,
      "aria-label": `opacity of ${layer.name}`,
    });
    const shown = element("output", {}, `${Math.round(100 * layer.opacity)}`);
    const kind = layer.available ? "layer" : "layer absent";
    const label = element("label", {}, box, layer.name);
    const row = element("div", { class: kind, "data-layer": layer.name }, label, range, shown);
    layer.set = (on, opacity) => {
      Object.assign(layer, { on, opacity });
      [box.checked, range.value, shown.textContent] = [on, Math.round(100 * opacity), String(Math.round(100 * opacity))];
      redraw();
    };
    box.addEventListener("change", () => layer.set(box.checked, layer.opacity || 0.5));
    range.addEventListener("input", () => layer.set(range.value > 0, range.value / 100));
    at("layers").append(row);
  }

  function chips() {
    const entries = [...DATA.classes.entries(), ...(anyHas("truth") ? [[drawing.VOID, "void"]] : [])];
    at("classes").replaceChildren(...entries.map(([index, name]) => {
      const colour = element("i");
      colour.style.background = DATA.palette[index];
      const isShown = () => String(shownClasses.has(index));
      const properties = { type: "button", class: "chip", title: name, "data-class": index, "aria-pressed": isShown() };
      const chip = element("button", properties, colour, element("span", {}, name));
      chip.addEventListener("click", () => {
        if (!shownClasses.delete(index)) shownClasses.add(index);
        chip.setAttribute("aria-pressed", isShown());
        redraw();
      });
      return chip;
    }));
  }
  function showClasses(wanted) {
    shownClasses.clear();
    wanted.forEach((index) => shownClasses.add(index));
    chips();
    redraw();
  }
  at("all-classes").addEventListener("click", () => showClasses([...DATA.classes.keys(), drawing.VOID]));
  at("no-classes").addEventListener("click", () => showClasses([]));
  chips();
  if (anyHas("truth")) {
    const KINDS = { missed: "missed object", false: "false object", confused: "confused class" };
    const kinds = Object.entries(KINDS).filter(([kind]) => DATA.background !== null || kind === "confused");
    at("errors").append(...kinds.map(([kind, name]) => {
      const colour = element("i");
      colour.style.background = `rgb(${DATA.errorColours[kind].join(",")})`;
      return element("span", {}, colour, name);
    }));
  }

  // ---- keys

  at("workbench").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=range]")) return;
    const step = 0.1 / state.zoom;
    const zoomed = state.zoom > 1 && !event.target.matches("button, input");
    const { zoomAt, setZoom } = gestures;
    const actions = {
      "+": () => zoomAt(1.5), "=": () => zoomAt(1.5), "-": () => zoomAt(1 / 1.5), 0: () => setZoom(1, 0, 0),
      "[": () => stepEpoch(-1), "]": () => stepEpoch(1),
      g: () => chooseView("grid"),
      w: () => COLUMNS.length > 1 && chooseView("wipe"),
      b: () => COLUMNS.length > 1 && chooseView("blink"),
    };
    if (zoomed) {
      actions.ArrowLeft = () => setZoom(state.zoom, state.x - step, state.y);
      actions.ArrowRight = () => setZoom(state.zoom, state.x + step, state.y);
      actions.ArrowUp = () => setZoom(state.zoom, state.x, state.y - step);
      actions.ArrowDown = () => setZoom(state.zoom, state.x, state.y + step);
    }
    if (state.view === "blink" && !event.target.matches("button, input")) {
      actions[" "] = () => { state.blinking = false; setBlink(); flip(); };
    }
    LAYERS.forEach((layer, place) => {
      if (layer.available) actions[place + 1] = () => layer.set(!layer.on, layer.opacity || 0.5);
    });
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
  function stepEpoch(step) {
    if (state.split !== "val") return;
    setEpoch(state.epoch + step);
    fillHead();
    fillRows();
  }

  setEpoch(state.epoch);
  showSplit();
  setBlink();
  gestures.setWipe(state.wipe);
  fillHead();
})();
