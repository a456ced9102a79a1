/**
 * A form that asks the API as it says: `data-method`, `data-path`, and what is in its fields. Then
 * the parts of the page that `data-shows` selects are read anew; `data-sure` is asked before. A field with `data-list` is a list
 * by commas, one with `data-json` is JSON, one of type number a number; what was wrong stands in the form.
 * In `data-said`, which is told then, `{name}` is what the answer has under this name.
 */
import { ask } from "./http.js";
import { toast } from "./page.js";
import { sure } from "./sure.js";

export function mount(form) {
  const section = form.closest("section");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { method, path, said, shows } = form.dataset;
    if (form.dataset.sure && !(await sure(form.dataset.sure, event.submitter))) return;
    const had = form.contains(document.activeElement) && document.activeElement;
    const buttons = [...form.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    fault(form, "");
    try {
      const answer = await ask(method, path, bodyOf(form));
      if (said) toast(said.replace(/{(\w+)}/g, (_, name) => answer[name]));
      if (method === "POST") form.reset(); // it is made; what was changed stays as it is now
      form.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: answer }));
      if (shows) await showAnew(shows);
    } catch (error) {
      fault(form, error.message);
    } finally {
      for (const button of buttons) button.disabled = false;
      if (had) keepFocus(had, section);
    }
  });
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
function keepFocus(had, section) {
  if (document.activeElement !== document.body) return;
  const there = section.isConnected ? section : document.getElementById(section.id);
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
  if ("list" in field.dataset) return field.value.split(",").map((one) => one.trim()).filter(Boolean);
  if ("optional" in field.dataset && !field.value) return null;
  if ("json" in field.dataset) return JSON.parse(field.value);
  if (field.type === "number" || "number" in field.dataset) return field.value ? Number(field.value) : null;
  return field.value;
}

function fault(form, text) {
  const note = form.querySelector("[data-fault]");
  if (note) Object.assign(note, { textContent: text, hidden: !text });
  else if (text) toast(text, { bad: true });
}
