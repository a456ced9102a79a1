/** A question in the page. The browser's own confirm() would stop the live sound and the events. */
import { getElement } from "./dom.js";
import { whenGone } from "./page.js";

/**
 * Ask the person to confirm; return whether they do.
 *
 * @param {string} question
 * @param {HTMLElement} button the pressed button, which names the answer; if it leaves the page, the
 *   answer is no
 * @returns {Promise<boolean>}
 */
export function confirmed(question, button) {
  const dialog = getElement(document, "#sure", HTMLDialogElement);
  const yes = getElement(dialog, "[value=yes]", HTMLButtonElement);
  getElement(dialog, "p").textContent = question;
  yes.textContent = button.ariaLabel ?? button.textContent?.trim() ?? "";
  dialog.returnValue = "";
  const answered = new AbortController();
  whenGone(button, () => dialog.close(), answered);
  return new Promise((resolve) => {
    const closed = () => {
      answered.abort();
      resolve(dialog.returnValue === yes.value);
    };
    dialog.addEventListener("close", closed, { once: true });
    dialog.showModal();
  });
}
