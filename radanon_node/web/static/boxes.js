// The table of boxes: one row each, with a button that removes it or puts it back.

export function fillTable(table, boxes, chosen, { choose, remove }) {
  const body = table.tBodies[0];
  const focused = document.activeElement?.dataset?.box;
  body.replaceChildren(...boxes.map((box, index) => row(box, index, chosen, choose, remove)));
  if (focused !== undefined) body.querySelector(`[data-box="${focused}"]`)?.focus();
}

function row(box, index, chosen, choose, remove) {
  const line = document.createElement("tr");
  if (index === chosen) line.setAttribute("aria-current", "true");
  if (box.gone) line.className = "gone";
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = index + 1;
  line.append(name);
  const verdict = box.gone ? "taken back" : box.verdict;
  const frames = box.frames === "all" ? "all" : box.frames.length > 3 ? `${box.frames.length}` : box.frames.map((frame) => frame + 1).join(", ");
  for (const [text, numeric] of [[verdict], [box.kind], [box.source], [box.why], [box.drawn ? "" : box.confidence, true], [frames]]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (numeric) cell.className = "n";
    line.append(cell);
  }
  const act = document.createElement("td");
  if (box.drawn || box.can) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.box = index;
    button.textContent = box.drawn ? "Remove" : box.gone ? "Put back" : "Take back";
    button.setAttribute("aria-label", `${button.textContent} box ${index + 1}`);
    button.addEventListener("click", (event) => { event.stopPropagation(); remove(index); });
    act.append(button);
  }
  line.append(act);
  line.addEventListener("click", () => choose(index));
  return line;
}
