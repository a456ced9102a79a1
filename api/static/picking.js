/** Pick recordings, or all that the search has found, and do one thing to them. */
import { refresh } from "./act.js";
import { allElements, findElement, getElement } from "./dom.js";
import { callApi } from "./http.js";
import { showFault, whenGone } from "./page.js";
import { splitList } from "./words.js";

/** @param {HTMLElement} bar */
export function mount(bar) {
  const all = getElement(bar, "[data-all]", HTMLInputElement);
  const table = /** @type {HTMLElement} */ (bar.nextElementSibling);
  let isSending = false;
  const picked = () => allElements(table, "[name=pick]:checked", HTMLInputElement);
  const draw = () => {
    const count = picked().length;
    getElement(bar, "[data-count]").textContent = all.checked
      ? (bar.dataset.everything ?? "")
      : String(count);
    for (const button of allElements(bar, "button", HTMLButtonElement)) {
      button.disabled = isSending || (!all.checked && count === 0);
    }
  };
  all.addEventListener("change", draw);
  table.addEventListener("change", draw);
  bar.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    showFault(bar, "");
    isSending = true;
    draw();
    const which = all.checked
      ? { search: JSON.parse(bar.dataset.search ?? "") }
      : { ids: picked().map(({ value }) => value) };
    try {
      await callApi("POST", "/bulk", { ...which, ...actionOf(form) });
      for (const box of picked()) box.checked = false;
      all.checked = false;
      form.reset();
      await refresh("#bulks");
    } catch (error) {
      showFault(bar, /** @type {Error} */ (error).message);
    } finally {
      isSending = false;
      draw();
      if (document.activeElement === document.body) all.focus();
    }
  });
  // More rows come as the person scrolls; the picked rows stay picked.
  document.addEventListener("htmx:afterSwap", draw);
  whenGone(bar, () => document.removeEventListener("htmx:afterSwap", draw));
  draw(); // a browser may restore boxes that were checked
}

/** @param {HTMLFormElement} form */
function actionOf(form) {
  const { action } = form.dataset;
  const text = findElement(form, "[name=text]", HTMLInputElement)?.value ?? "";
  if (action === "tag") return { action, tags: splitList(text) };
  return action === "hold" ? { action, reason: text } : { action };
}
