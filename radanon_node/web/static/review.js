// The review page: pictures before and after, boxes, keys. Without it the page works as plain forms and images.
import { Picture, View } from "./picture.js";
import { pointers } from "./pointers.js";
import { fillTable } from "./boxes.js";

const $ = (id) => document.getElementById(id);
const viewer = $("viewer");
const base = `/review/${viewer.dataset.id}`;
const sample = viewer.dataset.source === "sample";
const form = $("decision");
const view = new View();
const state = {
  view, frame: Number(viewer.dataset.frame), frames: 1, found: [], edits: JSON.parse($("edits").value || '{"added":[],"removed":[]}'),
  shown: null, chosen: -1, draft: null, adding: false, hidden: false, past: [], rows: 0, columns: 0,
};
const pictures = {};

for (const side of ["before", "after"]) {
  const place = viewer.querySelector(`[data-side="${side}"]`);
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", side === "before" ? "The original picture with its boxes" : "The clean picture");
  place.replaceWith(canvas);
  pictures[side] = new Picture(canvas, view, side);
}
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

const say = (text) => { $("state").textContent = text; };
const same = (one, other) => one.box.join() === other.box.join() && String(one.frames) === String(other.frames);
const key = () => JSON.stringify(state.edits);
const edited = () => state.edits.added.length + state.edits.removed.length > 0;
const onFrame = (box) => box.frames === "all" || box.frames.includes(state.frame);

// All boxes in the order of the table: what the detectors found, then what was drawn.
function boxes() {
  const found = state.found.map((box, index) => ({
    ...box, index, drawn: false, gone: state.edits.removed.some((one) => same(one, box)),
    can: box.verdict === "redact" && ["marker_model", "text_model"].includes(box.source),
  }));
  return [...found, ...state.edits.added.map((box, index) => ({ ...box, index, drawn: true, verdict: "redact", source: "reviewer", why: "", confidence: 1 }))];
}

export function draw() {
  const list = boxes();
  const seen = list.map((box, index) => ({
    box: box.box, chosen: index === state.chosen, name: String(index + 1), look: box.drawn ? "added" : box.gone ? "gone" : box.verdict, drawn: box.drawn, at: onFrame(box),
  })).filter((box) => box.at);
  if (state.draft) seen.push({ box: state.draft, chosen: true, name: "new", look: "added", drawn: true });
  const stale = !sample && state.shown !== null && state.shown !== key();
  $("stale").hidden = !stale;
  pictures.before.draw(state.hidden ? [] : seen);
  pictures.after.draw(state.hidden ? [] : seen.filter((box) => box.look !== "gone").map((box) => ({ ...box, fill: stale && box.drawn })));
}

function changed() {
  $("edits").value = key();
  fillTable($("boxes"), boxes(), state.chosen, { choose, remove });
  draw();
}

function remember() {
  state.past.push(key());
  if (state.past.length > 100) state.past.shift();
}

function choose(index) {
  const list = boxes();
  if (!list.length) return say("There are no boxes.");
  state.chosen = (index + list.length) % list.length;
  const box = list[state.chosen];
  if (!onFrame(box)) goTo(box.frames[0]);
  say(`Box ${state.chosen + 1} of ${list.length}: ${box.drawn ? "drawn by you" : box.gone ? "taken back" : box.verdict}, ${box.kind}, by ${box.source}`);
  changed();
}

function remove(index = state.chosen) {
  const box = boxes()[index];
  if (!box) return say("Choose a box first (j, k).");
  remember();
  if (box.drawn) {
    state.edits.added.splice(box.index, 1);
    state.chosen = -1;
    say("The box is removed.");
  } else if (!box.can) {
    state.past.pop();
    return say(box.verdict === "keep" ? "What is in this box is kept already. To black it out, add a box." : "Device rules are taken back in their file, not here.");
  } else if (box.gone) {
    state.edits.removed = state.edits.removed.filter((one) => !same(one, box));
    say("The box is put back: it will be blacked out.");
  } else {
    state.edits.removed.push({ box: box.box, frames: box.frames, kind: box.kind });
    say("The box is taken back: what is in it stays visible.");
  }
  changed();
}

function undo() {
  if (!state.past.length) return say("There is nothing to undo.");
  state.edits = JSON.parse(state.past.pop());
  state.chosen = -1;
  say("Undone.");
  changed();
}

function startAdding() {
  state.adding = true;
  const [width, height] = pictures.before.levels ? pictures.before.size : [100, 100];
  const side = Math.max(8, Math.round(Math.min(width, height) / 12));
  const x = Math.round(view.x * width), y = Math.round(view.y * height);
  state.draft = [x - side, y - Math.round(side / 2), x + side, y + Math.round(side / 2)];
  for (const picture of Object.values(pictures)) picture.canvas.classList.add("adding");
  say("New box: drag it, or move it with the arrow keys, size it with Shift and the arrows; Enter keeps it, Escape gives up.");
  draw();
}

export function endAdding(keep) {
  if (keep && state.draft) {
    const [width, height] = pictures.before.size;
    const [x0, y0, x1, y1] = state.draft.map(Math.round);
    const box = [Math.max(0, Math.min(x0, x1)), Math.max(0, Math.min(y0, y1)), Math.min(width, Math.max(x0, x1)), Math.min(height, Math.max(y0, y1))];
    if (box[2] > box[0] && box[3] > box[1]) {
      remember();
      const frames = wantedFrames();
      state.edits.added.push({ box, frames, kind: $("kind").value });
      state.chosen = boxes().length - 1;
      const where = state.frames < 2 ? "" : frames === "all" ? ", on all frames" : `, on ${frames.length} of ${state.frames} frames`;
      say(`The box is added as ${$("kind").selectedOptions[0].text}${where}.${sample ? "" : " Press v to see the result."}`);
    } else say("The box has no area.");
  } else say("No box was added.");
  state.adding = false;
  state.draft = null;
  for (const picture of Object.values(pictures)) picture.canvas.classList.remove("adding");
  changed();
}

// The frames a new box is meant for: all, the one that is shown, or a range; numbered from 0.
function wantedFrames() {
  if ($("span").value === "this") return [state.frame];
  if ($("span").value === "all") return "all";
  const ends = [Number($("from").value), Number($("to").value)].map((one) => Math.min(state.frames, Math.max(1, Math.round(one) || 1)));
  const first = Math.min(...ends);
  return Array.from({ length: Math.max(...ends) - first + 1 }, (_, index) => first - 1 + index);
}

$("span").addEventListener("change", () => {
  for (const name of ["from", "to"]) {
    $(`${name}-label`).hidden = $("span").value !== "range";
    $(name).value = state.frame + 1;
  }
});

const asked = () => (edited() ? `&edits=${encodeURIComponent(key())}` : "");

async function loadAfter() {
  const wanted = key();
  await pictures.after.load(`${base}/after.levels?frame=${state.frame}${sample ? "" : asked()}`);
  state.shown = wanted;
}

async function goTo(frame) {
  if (frame < 0 || frame >= state.frames) return say("There is no further frame.");
  state.frame = frame;
  $("frame").textContent = frame + 1;
  say(`Frame ${frame + 1} of ${state.frames}`);
  const done = await Promise.allSettled([pictures.before.load(`${base}/before.levels?frame=${frame}`), loadAfter()]);
  for (const one of done) if (one.status === "rejected") say(one.reason.message);
  draw();
}

// What the cleaning core makes of it: boxes without the edits first, the picture with them.
async function preview() {
  say("The result is being made ...");
  try {
    const answer = await fetch(`${base}/result.json?frame=0`);
    const outcome = await answer.json();
    if (outcome.problem) throw new Error(`It cannot be shown: ${outcome.problem}`);
    state.found = outcome.boxes;
    state.frames = Math.max(1, outcome.frames);
    $("frames").textContent = state.frames;
    for (const part of document.querySelectorAll(".frames")) part.hidden = state.frames < 2;
    for (const end of [$("from"), $("to")]) end.max = state.frames;
    let last = outcome;
    if (edited() && !sample) last = await (await fetch(`${base}/result.json?frame=0${asked()}`)).json();
    changed();
    if (last.problem || last.reason) throw new Error(last.problem || `Released now, it would be held again: ${last.reason}${last.detail ? `: ${last.detail}` : ""}`);
    await loadAfter();
    say(`${state.found.length} boxes found.${edited() ? " The result is with your boxes." : ""}`);
  } catch (error) {
    pictures.after.levels = null;
    say(error.message);
  }
  viewer.dataset.ready = "1";
  draw();
}

function decide(button) {
  if (!button) return say("There is no such decision about this instance.");
  if (button.dataset.shown && edited()) return say("You have changed boxes: release with your boxes (r), or undo (u).");
  if (!$("note").value.trim()) $("note").value = { clean: "looked at, nothing left", residual: "", release: button.dataset.shown ? "looked at, as shown" : "looked at, with boxes drawn", retry: "rules have changed" }[button.value] ?? "";
  form.requestSubmit(button);
}

const button = (value, shown) => [...form.querySelectorAll(`button[value="${value}"]`)].find((one) => Boolean(one.dataset.shown) === shown);
const acts = {
  accept: () => decide(sample ? button("clean", false) : button("release", true)),
  release: () => decide(sample ? button("residual", false) : button("release", false)),
  retry: () => decide(button("retry", false)),
  drop: () => { if (sample) return say("A sample was released already."); $("drop-note").value = $("note").value; $("ask").showModal(); },
  next: () => { const link = $("next") ?? $("list"); location.href = link.href; },
  previous: () => history.back(),
  add: startAdding, remove: () => remove(), undo, preview: () => (sample ? say("A sample is shown as it was released.") : preview()),
  hide: () => { state.hidden = !state.hidden; draw(); },
  help: () => $("help").showModal(),
  fit: () => { Object.assign(view, { scale: 0, x: 0.5, y: 0.5 }); draw(); },
  zoomin: () => zoom(1.25), zoomout: () => zoom(0.8),
  window: () => { view.resetWindow(); draw(); },
  back: () => goTo(state.frame - 1), forth: () => goTo(state.frame + 1),
  lastbox: () => choose(state.chosen - 1), nextbox: () => choose(state.chosen + 1),
};
const keys = { a: "accept", r: "release", t: "retry", d: "drop", n: "next", p: "previous", b: "add", x: "remove", Delete: "remove", u: "undo", v: "preview", h: "hide",
  "?": "help", 0: "fit", "+": "zoomin", "=": "zoomin", "-": "zoomout", w: "window", ",": "back", ".": "forth", j: "nextbox", k: "lastbox" };

export function zoom(factor) {
  view.scale = Math.min(32, Math.max(0.02, pictures.before.zoom * factor));
  draw();
}

function arrows(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return false;
  if (state.draft) {
    const far = event.altKey ? 1 : Math.max(1, Math.round(pictures.before.size[0] / 100));
    const [dx, dy] = step.map((one) => one * far);
    const [x0, y0, x1, y1] = state.draft;
    state.draft = event.shiftKey ? [x0, y0, Math.max(x0 + 1, x1 + dx), Math.max(y0 + 1, y1 + dy)] : [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  } else if (event.target instanceof HTMLCanvasElement) {
    view.x += step[0] * 0.05;
    view.y += step[1] * 0.05;
  } else return false;
  draw();
  return true;
}

function shiftWindow(level, width) {
  const span = view.high - view.low;
  view.low += span * (level - width / 2);
  view.high += span * (level + width / 2);
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  // A field of a dialog that was just closed may hold the focus until the next picture is painted: nobody types into it.
  if (event.target.matches("input:not([type=checkbox]), textarea, select") && !event.target.closest("dialog:not([open])")) return;
  if (arrows(event)) return event.preventDefault();
  if (state.draft && (event.key === "Enter" || event.key === "Escape")) {
    event.preventDefault();
    return endAdding(event.key === "Enter");
  }
  const window_ = { "[": [-0.05, 0], "]": [0.05, 0], "{": [0, -0.1], "}": [0, 0.1] }[event.key];
  if (window_) return shiftWindow(...window_);
  const act = keys[event.key];
  if (!act || event.altKey || (state.draft && act !== "help")) return;
  event.preventDefault();
  acts[act]();
});

document.addEventListener("click", (event) => {
  const act = event.target.closest?.("[data-act]")?.dataset.act;
  if (act) acts[act]();
  const close = event.target.closest?.("[data-close]")?.dataset.close;
  if (close) $(close).close();
});

form.addEventListener("submit", (event) => {
  const by = event.submitter;
  if (by?.value === "drop" && !form.querySelector("[name=confirmed]")) {
    event.preventDefault();
    return acts.drop();
  }
  if (by?.dataset.shown && edited()) {
    event.preventDefault();
    say("You have changed boxes: release with your boxes (r), or undo (u).");
  }
});

pointers(pictures, state, { draw, zoom, endAdding });
addEventListener("resize", draw);
pictures.before.load(`${base}/before.levels?frame=${state.frame}`).then(draw, (error) => say(error.message)).then(preview);
