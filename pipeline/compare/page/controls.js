// The controls beside the grid, and the keys that do the same.
(function controls() {
  const { COLUMNS, LAYERS, ORDERS, state, sheet, shownClasses, anywhere, gestures, rebuild, redraw, fillHead, fillRows, captions, layout } = grid;

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
    const buttons = choices.map(([value, name, there]) => element("button", { type: "button", disabled: !there, "data-value": value, "aria-pressed": String(value === current()) }, name));
    const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === current())));
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
  segments("split", [["val", "Validation", DATA.val.length > 0], ["test", "Test", DATA.test.length > 0]], () => state.split, (value) => { state.split = value; showSplit(); rebuild(); });
  const chooseView = segments("view", [["grid", "Grid", true], ["wipe", "Wipe", COLUMNS.length > 1], ["blink", "Blink", COLUMNS.length > 1]], () => state.view, (value) => {
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
  for (const which of ["a", "b"]) options(`run-${which}`, COLUMNS.map((run) => [run.column, `${run.rank}  ${run.heading}`]), state[which], (value) => { state[which] = Number(value); fillRows(); });
  options("sort", Object.entries(ORDERS).map(([key, order]) => [key, order.name]), state.sort, (value) => { state.sort = value; fillRows(); });
  options("filter", [[-1, "any"], ...DATA.classes.map((name, place) => [place, name])], -1, (value) => { state.filter = Number(value); fillRows(); });
  at("filter").disabled = !anywhere("truth");
  at("size").addEventListener("input", () => { state.side[state.view === "grid" ? "grid" : "pair"] = Number(at("size").value); layout(); });

  for (const found of LAYERS) {
    const box = element("input", { type: "checkbox", checked: found.on, disabled: !found.there });
    const range = element("input", { type: "range", min: 0, max: 100, value: 100 * found.opacity, disabled: !found.there, "aria-label": `opacity of ${found.name}` });
    const shown = element("output", {}, `${Math.round(100 * found.opacity)}`);
    const row = element("div", { class: `layer${found.there ? "" : " absent"}`, "data-layer": found.name }, element("label", {}, box, found.name), range, shown);
    found.set = (on, opacity) => {
      Object.assign(found, { on, opacity });
      [box.checked, range.value, shown.textContent] = [on, Math.round(100 * opacity), String(Math.round(100 * opacity))];
      redraw();
    };
    box.addEventListener("change", () => found.set(box.checked, found.opacity || 0.5));
    range.addEventListener("input", () => found.set(range.value > 0, range.value / 100));
    at("layers").append(row);
  }

  function chips() {
    const entries = [...DATA.classes.entries(), ...(anywhere("truth") ? [[drawing.VOID, "void"]] : [])];
    at("classes").replaceChildren(...entries.map(([index, name]) => {
      const colour = element("i");
      colour.style.background = DATA.palette[index];
      const chip = element("button", { type: "button", class: "chip", title: name, "data-class": index, "aria-pressed": String(shownClasses.has(index)) }, colour, element("span", {}, name));
      chip.addEventListener("click", () => {
        if (!shownClasses.delete(index)) shownClasses.add(index);
        chip.setAttribute("aria-pressed", String(shownClasses.has(index)));
        redraw();
      });
      return chip;
    }));
  }
  const showClasses = (wanted) => { shownClasses.clear(); wanted.forEach((index) => shownClasses.add(index)); chips(); redraw(); };
  at("all-classes").addEventListener("click", () => showClasses([...DATA.classes.keys(), drawing.VOID]));
  at("no-classes").addEventListener("click", () => showClasses([]));
  chips();
  if (anywhere("truth")) {
    const KINDS = { missed: "missed object", false: "false object", confused: "confused class" };
    at("errors").append(...Object.entries(KINDS).map(([kind, name]) => {
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
      g: () => chooseView("grid"), w: () => COLUMNS.length > 1 && chooseView("wipe"), b: () => COLUMNS.length > 1 && chooseView("blink"),
      ...(zoomed ? { ArrowLeft: () => setZoom(state.zoom, state.x - step, state.y), ArrowRight: () => setZoom(state.zoom, state.x + step, state.y),
        ArrowUp: () => setZoom(state.zoom, state.x, state.y - step), ArrowDown: () => setZoom(state.zoom, state.x, state.y + step) } : {}),
      ...(state.view === "blink" && !event.target.matches("button, input") ? { " ": () => { state.blinking = false; setBlink(); flip(); } } : {}),
    };
    LAYERS.forEach((found, place) => { if (found.there) actions[place + 1] = () => found.set(!found.on, found.opacity || 0.5); });
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
