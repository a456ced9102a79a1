/**
 * Whether one is sure, asked in the page: while the browser's own confirm() stands, the live sound
 * and the events stop. `button` is what was pressed; its name is that of the answer.
 */
import { whenGone } from "./page.js";

export function sure(text, button) {
  const dialog = document.querySelector("#sure");
  const yes = dialog.querySelector("[value=yes]");
  dialog.querySelector("p").textContent = text;
  yes.textContent = button.ariaLabel ?? button.textContent.trim();
  dialog.returnValue = "";
  const asked = new AbortController();
  whenGone(button, () => dialog.close(), asked);
  return new Promise((answer) => {
    const closed = () => {
      asked.abort();
      answer(dialog.returnValue === yes.value);
    };
    dialog.addEventListener("close", closed, { once: true });
    dialog.showModal();
  });
}
