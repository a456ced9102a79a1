/** Recordings are picked, or all that the search finds, and one thing is done to them. */
import { showAnew } from "./act.js";
import { ask } from "./http.js";
import { whenGone } from "./page.js";

export function mount(bar) {
  const all = bar.querySelector("[data-all]");
  const table = bar.nextElementSibling;
  let sends = false;
  const picked = () => [...table.querySelectorAll("[name=pick]:checked")].map(({ value }) => value);
  const draw = () => {
    bar.querySelector("[data-count]").textContent = all.checked ? bar.dataset.everything : picked().length;
    for (const button of bar.querySelectorAll("button")) {
      button.disabled = sends || (!all.checked && !picked().length);
    }
  };
  all.addEventListener("change", draw);
  table.addEventListener("change", draw);
  bar.addEventListener("submit", async (event) => {
    event.preventDefault();
    const note = bar.querySelector("[data-fault]");
    note.hidden = true;
    sends = true;
    draw();
    const which = all.checked ? { search: JSON.parse(bar.dataset.search) } : { ids: picked() };
    try {
      await ask("POST", "/bulk", { ...which, ...told(event.target) });
      for (const box of table.querySelectorAll("[name=pick]")) box.checked = false;
      all.checked = false;
      event.target.reset();
      await showAnew("#bulks");
    } catch (error) {
      Object.assign(note, { textContent: error.message, hidden: false });
    } finally {
      sends = false;
      draw();
      if (document.activeElement === document.body) all.focus();
    }
  });
  // More rows come as one scrolls; those picked stay.
  document.addEventListener("htmx:afterSwap", draw);
  whenGone(bar, () => document.removeEventListener("htmx:afterSwap", draw));
  draw(); // some may be picked by now
}

function told(form) {
  const { action } = form.dataset;
  const text = form.elements.text?.value;
  if (action === "tag") {
    return { action, tags: text.split(",").map((one) => one.trim()).filter(Boolean) };
  }
  return action === "hold" ? { action, reason: text } : { action };
}
