/**
 * A form that asks the API as it says: `data-method`, `data-path`, and what is in its fields. Then
 * the parts of the page that `data-shows` selects are read anew; `data-sure` is asked before. A field with `data-list` is a list
 * by commas, one with `data-json` is JSON, one of type number a number; what was wrong stands in the form.
 * In `data-said`, which is told then, `{name}` is what the answer has under this name.
 */
import { ask } from "./http.js";
import { toast } from "./page.js";

export function mount(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.sure && !confirm(form.dataset.sure)) return;
    const buttons = [...form.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    try {
      const answer = await ask(form.dataset.method, form.dataset.path, bodyOf(form));
      if (form.dataset.said) toast(form.dataset.said.replace(/{(\w+)}/g, (_, name) => answer[name]));
      form.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: answer }));
      if (form.dataset.shows) await showAnew(form.dataset.shows);
    } catch (error) {
      fault(form, error.message);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  });
}

/** Read these parts of the page anew, and leave the others as they are. */
export async function showAnew(selector) {
  for (const part of document.querySelectorAll(selector)) {
    await htmx.ajax("GET", location.pathname + location.search, {
      target: part,
      select: `#${part.id}`,
      swap: "outerHTML",
    });
  }
}

function bodyOf(form) {
  const fields = [...form.elements].filter(({ name, disabled }) => name && !disabled);
  return fields.length ? Object.fromEntries(fields.map((field) => [field.name, valueOf(field)])) : undefined;
}

function valueOf(field) {
  if ("list" in field.dataset) return field.value.split(",").map((one) => one.trim()).filter(Boolean);
  if ("optional" in field.dataset && !field.value) return null;
  if ("json" in field.dataset) return JSON.parse(field.value);
  if (field.type === "number" || "number" in field.dataset) return field.value ? Number(field.value) : null;
  return field.value;
}

function fault(form, text) {
  const note = form.querySelector("[data-fault]");
  if (!note) toast(text, { bad: true });
  else Object.assign(note, { textContent: text, hidden: false });
}
