/** What is done in the background: looked at each second while it runs; then the list shows it. */
import { showAnew } from "./act.js";

const LOOK_EVERY_MS = 1000;

let known = null; // what was done when the list was read

export async function mount(section) {
  const done = [...section.querySelectorAll("[data-done]")].map(({ dataset }) => dataset.done);
  if (known && done.some((id) => !known.includes(id))) showRows();
  known = done;
  // After a look that fails comes the next one; after one that does not, this section is gone.
  while (section.isConnected && section.querySelector("[data-runs]")) {
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
    if (section.isConnected) await showAnew("#bulks");
  }
}

/** What can have changed in the rows, read anew: they stay where they are, and picked. */
async function showRows() {
  const wanted = new Map([...document.querySelectorAll("tr[data-id]")].map((row) => [row.dataset.id, row]));
  let path = location.pathname + location.search;
  while (path && wanted.size) {
    const response = await fetch(path).catch(() => null);
    if (!response?.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const fresh of page.querySelectorAll("tr[data-id]")) {
      const cells = fresh.querySelectorAll("[data-changes]");
      const row = wanted.get(fresh.dataset.id);
      row?.querySelectorAll("[data-changes]").forEach((cell, n) => cell.replaceWith(cells[n]));
      wanted.delete(fresh.dataset.id);
    }
    path = page.querySelector("#more a")?.getAttribute("href");
  }
}
