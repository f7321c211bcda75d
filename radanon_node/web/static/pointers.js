// The pointer on the pictures: drag moves, the wheel zooms, Shift or the right button changes the window, a new box is drawn by dragging.

export function pointers(pictures, state, { draw, zoom, endAdding }) {
  for (const picture of Object.values(pictures)) {
    const { canvas, view } = picture;
    let held = null;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const before = picture.place(event);
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
      const after = picture.place(event);
      const [width, height] = picture.size;
      view.x += (before[0] - after[0]) / width;
      view.y += (before[1] - after[1]) / height;
      draw();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (!picture.levels) return;
      canvas.setPointerCapture(event.pointerId);
      held = { x: event.clientX, y: event.clientY, at: picture.place(event), window: event.shiftKey || event.button === 2 };
      if (state.adding) state.draft = [...held.at, ...held.at];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const dx = event.clientX - held.x, dy = event.clientY - held.y;
      if (state.adding) {
        const [x, y] = picture.place(event);
        state.draft = [Math.min(x, held.at[0]), Math.min(y, held.at[1]), Math.max(x, held.at[0]), Math.max(y, held.at[1])];
      } else if (held.window) {
        const span = view.high - view.low, centre = (view.high + view.low) / 2 - (dy * span) / 400;
        const width = Math.max(1, span * (1 + dx / 400));
        [view.low, view.high] = [centre - width / 2, centre + width / 2];
        [held.x, held.y] = [event.clientX, event.clientY];
      } else {
        const ratio = canvas.width / canvas.getBoundingClientRect().width;
        const [width, height] = picture.size;
        view.x -= (dx * ratio) / (width * picture.zoom);
        view.y -= (dy * ratio) / (height * picture.zoom);
        [held.x, held.y] = [event.clientX, event.clientY];
      }
      draw();
    });
    canvas.addEventListener("pointerup", () => {
      held = null;
      if (state.adding && state.draft) endAdding(true);
    });
    canvas.addEventListener("pointercancel", () => { held = null; });
  }
}
