/** The dialog of the live page that takes both people of a live call into a conference. */
import { lock } from "./act.js";
import { getElement, getField } from "./dom.js";
import { callApi, listAll } from "./http.js";
import { showFault, toast } from "./page.js";
import { fillIn } from "./words.js";

/** @type {string} the call to take in */
let callId = "";

/**
 * Ask for the conference, and take the call in.
 *
 * @param {string} id
 */
export async function takeIn(id) {
  callId = id;
  const dialog = getElement(document, "#take-in", HTMLDialogElement);
  const select = getElement(dialog, "select", HTMLSelectElement);
  showFault(dialog, "");
  /** @type {Api.Conference[]} */
  const open = await listAll("/conferences");
  const [isNew] = select.options; // stays: a new conference
  select.replaceChildren(isNew, ...open.filter(({ locked }) => !locked).map((one) => new Option(one.name, one.id)));
  select.value = isNew.value;
  dialog.showModal();
}

/** @param {HTMLDialogElement} dialog */
export function mount(dialog) {
  const form = getElement(dialog, "form", HTMLFormElement);
  getElement(form, "[data-cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showFault(form, "");
    await lock(form, () => send(dialog, form)).catch((error) => showFault(form, error.message));
  });
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {HTMLFormElement} form
 */
async function send(dialog, form) {
  const [{ value, text }] = getField(form, "conference", HTMLSelectElement).selectedOptions;
  const isNew = value === "";
  /** @type {Pick<Api.Conference, "id" | "name">} */
  const conference = isNew ? await callApi("POST", "/conferences", {}) : { id: value, name: text };
  try {
    await callApi("POST", `/conferences/${conference.id}/members`, { call_id: callId });
  } catch (error) {
    if (isNew) await callApi("DELETE", `/conferences/${conference.id}`).catch(() => null); // nobody is in it
    throw error;
  }
  dialog.close();
  toast(fillIn(dialog.dataset.taken ?? "", { name: conference.name }));
}
