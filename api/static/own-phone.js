/** The person's own phone, which rings before the number is called. The browser remembers the phone. */
import { allElements, getElement } from "./dom.js";
import { phoneKey } from "./dial-model.js";

/**
 * Return the chosen PBX of a form, for a request; nothing where only one PBX dials.
 *
 * @param {HTMLFormElement} form
 * @returns {{ pbx?: string }}
 */
export function chosenPbx(form) {
  const field = form.elements.namedItem("pbx");
  return field instanceof HTMLSelectElement ? { pbx: field.value } : {};
}

/**
 * Fill in the field of the phone, and remember the phone that the person types.
 *
 * For an agent the service has filled in `PJSIP/` and the agent's name.
 *
 * @param {ParentNode} root
 */
export function rememberPhone(root) {
  const field = getElement(root, "input[data-own-phone]", HTMLInputElement);
  const key = phoneKey(field.dataset.ownPhone ?? "");
  field.value = localStorage.getItem(key) || field.value;
  field.addEventListener("change", () => {
    localStorage.setItem(key, field.value.trim());
    for (const other of allElements(document, "input[data-own-phone]", HTMLInputElement)) {
      other.value = field.value.trim();
    }
  });
}
