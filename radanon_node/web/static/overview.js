// Keeps the figures of the overview current; without it the page shows those of its loading.
const cells = document.querySelectorAll("[data-path]");

function at(status, path) {
  const [section, ...rest] = path.split(".");
  const key = rest.pop();
  const name = rest.join(".");
  return key === undefined ? status[section] : status[section][name]?.[key];
}

async function refresh() {
  try {
    const status = await (await fetch("/status.json")).json();
    for (const cell of cells) {
      const value = at(status, cell.dataset.path);
      if (value === undefined) continue;
      const shown = typeof value === "boolean" ? (value ? "yes" : "no") : String(Math.round(value));
      if (cell.textContent !== shown) cell.textContent = shown;
    }
  } finally {
    setTimeout(refresh, 2000);
  }
}

refresh();
