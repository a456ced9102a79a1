/** Work in the background: look at it every second while it runs, then show its effect in the list. */
import { refresh } from "./act.js";
import { allElements, findElement } from "./dom.js";

const LOOK_EVERY_MS = 1000;

/** @type {(string | undefined)[] | null} the work that was done when the list was read */
let known = null;

/** @param {HTMLElement} section */
export async function mount(section) {
  const done = allElements(section, "[data-done]").map(({ dataset }) => dataset.done);
  if (done.some((id) => known && !known.includes(id))) updateRows();
  known = done;
  // A successful refresh replaces this section; after a failed one, look again.
  while (section.isConnected && section.querySelector("[data-runs]")) {
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
    if (section.isConnected) await refresh("#bulks");
  }
}

/** Read the changing cells of all rows again. The rows stay in their places, and stay picked. */
async function updateRows() {
  const shown = new Map(allElements(document, "tr[data-id]").map((row) => [row.dataset.id, row]));
  /** @type {string | null | undefined} */
  let path = location.pathname + location.search;
  while (path && shown.size) {
    const response = await fetch(path).catch(() => null);
    if (!response?.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const fresh of allElements(page, "tr[data-id]")) {
      const cells = allElements(fresh, "[data-changes]");
      const row = shown.get(fresh.dataset.id);
      row?.querySelectorAll("[data-changes]").forEach((cell, n) => cell.replaceWith(cells[n]));
      shown.delete(fresh.dataset.id);
    }
    path = findElement(page, "#more a")?.getAttribute("href");
  }
}
