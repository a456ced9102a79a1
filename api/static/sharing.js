/** Show a new link, token or secret, which the service sends only once, so that it can be copied. */
import { getElement } from "./dom.js";
import { toast } from "./page.js";

/** @param {HTMLElement} section */
export function mount(section) {
  section.addEventListener("acted", (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    const made = detail?.secret ?? detail?.token ?? detail?.url;
    if (!made) return;
    const part = getElement(section, "[data-made]");
    const field = getElement(part, "input", HTMLInputElement);
    field.value = made;
    part.hidden = false;
    mark(field);
    getElement(part, "button").onclick = () => copy(field, part.dataset);
  });
}

/**
 * Copy the text; if the browser refuses, mark it so that the person can copy it by keyboard.
 *
 * @param {HTMLInputElement} field
 * @param {DOMStringMap} texts
 */
async function copy(field, { copied, marked }) {
  try {
    await navigator.clipboard.writeText(field.value);
    toast(copied);
  } catch {
    mark(field);
    toast(marked);
  }
}

/** @param {HTMLInputElement} field */
function mark(field) {
  field.focus();
  field.select();
}
