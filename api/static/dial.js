/** The form on the live page that calls a number: the person's phone rings, then the number. */
import { lock } from "./act.js";
import { dial } from "./dialled.js";
import { getField } from "./dom.js";
import { chosenPbx, rememberPhone } from "./own-phone.js";
import { showFault } from "./page.js";

/** @param {HTMLFormElement} form */
export function mount(form) {
  rememberPhone(form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showFault(form, "");
    const [to, record] = [getField(form, "to"), getField(form, "record")];
    const wanted = {
      from: getField(form, "from").value.trim(),
      to: to.value.trim(),
      ...chosenPbx(form),
    };
    const done = lock(form, async () => {
      await dial(record.checked ? { ...wanted, record: true } : wanted); // else the rules decide
      to.value = "";
    });
    await done.catch((error) => showFault(form, error.message));
  });
}
