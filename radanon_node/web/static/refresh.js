// Fetches fragments of a page anew while it is looked at: <div data-refresh="URL" data-every="SECONDS">.
const fresh = document.getElementById("fresh");

async function renew(place) {
  if (document.hidden || place.contains(document.activeElement) || getSelection().toString()) return;
  try {
    const answer = await fetch(place.dataset.refresh, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    place.innerHTML = await answer.text();
    if (fresh) fresh.textContent = "";
  } catch {
    if (fresh) fresh.textContent = "The figures are not fresh: the node does not answer.";
  }
}

for (const place of document.querySelectorAll("[data-refresh]")) {
  setInterval(renew, 1000 * Number(place.dataset.every), place);
}
