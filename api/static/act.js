/**
 * A form that asks the API as it says: `data-method`, `data-path`, and what is in its fields. Then
 * the parts of the page that `data-shows` selects are read anew; `data-sure` is asked before. A field
 * with `data-list` is a list by commas, one with `data-json` is JSON, one of type number a number;
 * what was wrong stands in the form. In `data-said`, which is told then, `{name}` is what the answer
 * has under this name.
 */
import { ask } from "./http.js";
import { tellFault, toast } from "./page.js";
import { sure } from "./sure.js";
import { filled } from "./words.js";

export function mount(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { method, path, said, shows } = form.dataset;
    if (form.dataset.sure && !(await sure(form.dataset.sure, event.submitter))) return;
    tellFault(form, "");
    const asked = alone(form, async () => {
      const answer = await ask(method, path, bodyOf(form));
      if (said) toast(filled(said, answer));
      if (method === "POST") form.reset(); // it is made; what was changed stays as it is now
      form.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: answer }));
      if (shows) await showAnew(shows);
    });
    await asked.catch((error) => tellFault(form, error.message));
  });
}

/** One thing at a time: the buttons of the form are off meanwhile, and the focus is kept. */
export async function alone(form, act) {
  const part = form.closest("section") ?? form;
  const had = form.contains(document.activeElement) && document.activeElement;
  const buttons = [...form.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  try {
    await act();
  } finally {
    for (const button of buttons) button.disabled = false;
    if (had) keepFocus(had, part);
  }
}

/** Read these parts of the page anew, and leave the others as they are. */
export async function showAnew(selector) {
  for (const part of document.querySelectorAll(selector)) {
    const asked = htmx.ajax("GET", location.pathname + location.search, {
      source: part, // each has a queue of its own
      target: part,
      select: `#${part.id}`,
      swap: "outerHTML",
    });
    await asked.catch(() => null); // the page tells what fails
  }
}

/** What is disabled or gone has lost the focus: back to it, or to the heading of where it was. */
function keepFocus(had, part) {
  if (document.activeElement !== document.body) return;
  const there = part.isConnected ? part : document.getElementById(part.id);
  const place = had.isConnected ? had : (there?.querySelector("h2") ?? there);
  if (!place) return;
  if (place !== had) place.tabIndex = -1;
  place.focus({ preventScroll: true });
}

function bodyOf(form) {
  const fields = [...form.elements].filter(({ name, disabled }) => name && !disabled);
  return fields.length ? Object.fromEntries(fields.map((field) => [field.name, valueOf(field)])) : undefined;
}

function valueOf(field) {
  if ("list" in field.dataset) return listOf(field.value);
  if ("optional" in field.dataset && !field.value) return null;
  if ("json" in field.dataset) return JSON.parse(field.value);
  if (field.type === "number" || "number" in field.dataset) return field.value ? Number(field.value) : null;
  return field.value;
}

/** What stands there, by commas. */
export function listOf(text) {
  return text.split(",").map((one) => one.trim()).filter(Boolean);
}
