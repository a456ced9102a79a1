/**
 * A form that sends a file to the API: `data-method`, `data-path`, and one field of the type `file`.
 *
 * The answer counts the lines of the file. The sentence `data-said` appears, and in it `{name}` is a field
 * of the answer. The sentence `data-line` appears for each refused line, with its `{line}` and `{reason}`.
 * Then the parts of the page that the selector `data-shows` finds are read again. A button may have a path and
 * a sentence of its own.
 */
import { lock, refresh } from "./act.js";
import { getElement } from "./dom.js";
import { callApi } from "./http.js";
import { showFault } from "./page.js";
import { fillIn } from "./words.js";

/** @param {HTMLFormElement} form */
export function mount(form) {
  const field = getElement(form, "input[type=file]", HTMLInputElement);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showFault(form, "");
    showAnswer(form, "", []);
    const done = lock(form, () => send(form, field, event.submitter?.dataset));
    await done.catch((error) => showFault(form, error.message));
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLInputElement} field
 * @param {DOMStringMap} [pressed] the attributes of the button, before those of the form
 */
async function send(form, field, pressed) {
  const [file] = field.files ?? [];
  const { method = "POST", path = "", said = "", shows } = { ...form.dataset, ...pressed };
  const text = new Blob([file], { type: "text/csv" });
  const answer = await callApi(method, path, text);
  showAnswer(form, fillIn(said, answer), answer.faults ?? answer.refused ?? []);
  if (shows) await refresh(shows);
}

/**
 * @param {HTMLFormElement} form
 * @param {string} text
 * @param {{ line: number, reason: string }[]} refused
 */
function showAnswer(form, text, refused) {
  getElement(form, "[data-told]").textContent = text;
  const list = getElement(form, "[data-faults]");
  const items = refused.map((one) => {
    const item = document.createElement("li");
    item.textContent = fillIn(form.dataset.line ?? "", one);
    return item;
  });
  list.replaceChildren(...items);
  list.hidden = items.length === 0;
}
