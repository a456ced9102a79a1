/** Recordings are picked, or all that the search finds, and one thing is done to them. */
import { listOf, showAnew } from "./act.js";
import { ask } from "./http.js";
import { tellFault, whenGone } from "./page.js";

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
    tellFault(bar, "");
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
      tellFault(bar, error.message);
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
  if (action === "tag") return { action, tags: listOf(text) };
  return action === "hold" ? { action, reason: text } : { action };
}
