// Zoom and position, shared by all images; the divider between two runs, shared by all rows.
function linkGestures(sheet, state) {
  function setZoom(zoom, x, y) {
    state.zoom = Math.max(1, Math.min(32, zoom));
    const most = 1 - 1 / state.zoom;
    [state.x, state.y] = [x, y].map((value) => Math.max(0, Math.min(most, value)));
    sheet.style.setProperty("--zoom", state.zoom);
    sheet.style.setProperty("--x", state.x);
    sheet.style.setProperty("--y", state.y);
    sheet.querySelectorAll(".view").forEach((view) => view.classList.toggle("zoomed", state.zoom > 1));
    at("zoom-shown").textContent = `${Number(state.zoom.toFixed(1))}×`;
  }
  function zoomAt(factor, across = 0.5, down = 0.5) {
    const zoom = Math.max(1, Math.min(32, state.zoom * factor));
    setZoom(zoom, state.x + across / state.zoom - across / zoom, state.y + down / state.zoom - down / zoom);
  }
  const within = (event, view) => {
    const box = view.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, box];
  };
  sheet.addEventListener("wheel", (event) => {
    const view = event.target.closest(".view");
    if (!view || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const [across, down] = within(event, view);
    zoomAt(2 ** (-event.deltaY / 240), across, down);
  }, { passive: false });
  sheet.addEventListener("dblclick", (event) => {
    const view = event.target.closest(".view");
    if (view && !event.target.closest(".divider")) zoomAt(2, ...within(event, view).slice(0, 2));
  });
  sheet.addEventListener("pointerdown", (event) => {
    const view = event.target.closest(".view");
    const line = event.target.closest(".divider");
    if (!view || event.button !== 0 || (!line && state.zoom === 1)) return;
    const [, , box] = within(event, view);
    const start = { across: event.clientX, down: event.clientY, x: state.x, y: state.y };
    view.setPointerCapture(event.pointerId);
    const move = (moved) => {
      if (line) {
        setWipe((moved.clientX - box.left) / box.width);
        return;
      }
      const x = start.x - (moved.clientX - start.across) / box.width / state.zoom;
      const y = start.y - (moved.clientY - start.down) / box.height / state.zoom;
      setZoom(state.zoom, x, y);
    };
    const end = () => {
      view.removeEventListener("pointermove", move);
      view.removeEventListener("pointerup", end);
      view.removeEventListener("pointercancel", end);
    };
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerup", end);
    view.addEventListener("pointercancel", end);
    if (line) event.preventDefault();
  });
  at("zoom-in").addEventListener("click", () => zoomAt(1.5));
  at("zoom-out").addEventListener("click", () => zoomAt(1 / 1.5));
  at("zoom-reset").addEventListener("click", () => setZoom(1, 0, 0));

  function divider() {
    const line = element("div", {
      class: "divider", tabIndex: 0, role: "slider", "aria-label": "Divider between A and B",
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * state.wipe),
    });
    line.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      setWipe(state.wipe + step);
    });
    return line;
  }
  function setWipe(value) {
    state.wipe = Math.max(0, Math.min(1, value));
    sheet.style.setProperty("--wipe", state.wipe);
    sheet.querySelectorAll(".divider").forEach((line) => line.setAttribute("aria-valuenow", Math.round(100 * state.wipe)));
  }

  return { setZoom, zoomAt, setWipe, divider };
}
