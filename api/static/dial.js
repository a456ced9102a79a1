/** The form on the live page that calls a number: the person's phone rings, then the number. */
import { lock } from "./act.js";
import { dial } from "./dialled.js";
import { getField } from "./dom.js";
import { rememberPhone } from "./own-phone.js";
import { showFault } from "./page.js";

/** @param {HTMLFormElement} form */
export function mount(form) {
  rememberPhone(form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showFault(form, "");
    const to = getField(form, "to");
    const done = lock(form, async () => {
      await dial(form, to.value.trim());
      to.value = "";
    });
    await done.catch((error) => showFault(form, error.message));
  });
}
