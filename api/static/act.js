/**
 * Forms that send a request to the API: `data-method`, `data-path`, and the fields as its body.
 *
 * `data-sure` is a question before the request. After it, the parts of the page that the selector
 * `data-shows` finds are read again, and the message `data-said` appears; in it, `{name}` is a field of
 * the answer. Then the browser goes to the page `data-goes`, if there is one; `{name}` works there too.
 * An error is shown in the form.
 */
import { allElements, findElement } from "./dom.js";
import { confirmed } from "./confirm.js";
import { bodyOf } from "./form-values.js";
import { callApi } from "./http.js";
import { showFault, toast } from "./page.js";
import { fillIn } from "./words.js";

/** @param {HTMLFormElement} form */
export function mount(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { method = "POST", path = "", said, shows, sure, goes } = form.dataset;
    if (sure && !(await confirmed(sure, event.submitter ?? form))) return;
    showFault(form, "");
    const done = lock(form, async () => {
      const fields = /** @type {Iterable<HTMLInputElement>} */ (form.elements);
      const answer = await callApi(method, path, bodyOf(fields));
      if (said) toast(fillIn(said, answer));
      if (method === "POST") form.reset(); // ready for the next one; a changed form keeps its values
      form.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: answer }));
      if (shows) await refresh(shows);
      if (goes) location.assign(fillIn(goes, answer));
    });
    await done.catch((error) => showFault(form, error.message));
  });
}

/**
 * Do one thing at a time: disable the buttons of the form meanwhile, and keep the focus.
 *
 * @param {HTMLFormElement} form
 * @param {() => Promise<void>} act
 */
export async function lock(form, act) {
  const part = form.closest("section") ?? form;
  const focused = form.contains(document.activeElement) ? document.activeElement : null;
  const buttons = allElements(form, "button", HTMLButtonElement);
  for (const button of buttons) button.disabled = true;
  try {
    await act();
  } finally {
    for (const button of buttons) button.disabled = false;
    if (focused instanceof HTMLElement) restoreFocus(focused, part);
  }
}

/**
 * Read these parts of the page again, and leave the rest as it is.
 *
 * Example: `await refresh("#users")`
 *
 * @param {string} selector each part needs an id
 */
export async function refresh(selector) {
  for (const part of allElements(document, selector)) {
    const done = htmx.ajax("GET", location.pathname + location.search, {
      source: part, // each part has its own queue
      target: part,
      select: `#${part.id}`,
      swap: "outerHTML",
    });
    await done.catch(() => null); // the page shows the error
  }
}

/**
 * Give back the focus that a disabled or removed element has lost. If the element is gone, focus the new
 * element with its id, or else the heading.
 *
 * @param {HTMLElement} focused
 * @param {HTMLElement} part
 */
function restoreFocus(focused, part) {
  if (document.activeElement !== document.body) return;
  const present = part.isConnected ? part : document.getElementById(part.id);
  const heading = present && findElement(present, "h2");
  const again = focused.isConnected ? focused : document.getElementById(focused.id);
  const place = again ?? heading ?? present;
  if (!place) return;
  if (!again) place.tabIndex = -1;
  place.focus({ preventScroll: true });
}
