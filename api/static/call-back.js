/**
 * The dialog behind every button *Call back*: call the number now, or promise to call it at a time.
 *
 * A button is `<button data-call-back="+12025550123">`; `data-name` and `data-call` go along.
 */
import { lock, refresh } from "./act.js";
import { instantOf, typedOf } from "./dial-model.js";
import { dial } from "./dialled.js";
import { allElements, getElement, getField, targetOf } from "./dom.js";
import { callApi } from "./http.js";
import { chosenPbx, rememberPhone } from "./own-phone.js";
import { showFault, toast } from "./page.js";
import { localTimes } from "./times.js";
import { fillIn } from "./words.js";

const FIRST_OFFER_MS = 3_600_000; // an hour from now
const LOOK_AFTER_MS = 400; // ask for the time zone once the person has stopped typing

class Dialog {
  #dialog;
  #form;
  /** @type {DOMStringMap} of the button that opened the dialog */
  #asked = {};
  /** @type {string[]} */
  #zones = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #looking;

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#form = getElement(dialog, "form", HTMLFormElement);
    rememberPhone(dialog);
    document.addEventListener("click", (event) => {
      const button = targetOf(event)?.closest("[data-call-back]");
      if (button instanceof HTMLElement) this.#open(button);
    });
    this.#form.addEventListener("change", () => this.#update());
    getField(this.#form, "at").addEventListener("input", () => this.#update());
    getField(this.#form, "number").addEventListener("input", () => this.#lookLater());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    getElement(dialog, "[data-cancel]").addEventListener("click", () => dialog.close());
  }

  /** @param {HTMLElement} button */
  #open(button) {
    this.#asked = { ...button.dataset };
    showFault(this.#form, "");
    getField(this.#form, "number").value = this.#asked.callBack ?? "";
    getField(this.#form, "at").value = typedOf(new Date(Date.now() + FIRST_OFFER_MS));
    getElement(this.#form, "[name=when][value=now]", HTMLInputElement).checked = true;
    getField(this.#form, "note").value = "";
    this.#choosePbx(this.#asked.pbx);
    this.#look();
    this.#update();
    this.#dialog.showModal();
  }

  /**
   * Choose the PBX of the missed call or the recording, if it dials.
   *
   * @param {string | undefined} pbx
   */
  #choosePbx(pbx) {
    const field = this.#form.elements.namedItem("pbx");
    if (!(field instanceof HTMLSelectElement)) return;
    if ([...field.options].some(({ value }) => value === pbx)) field.value = pbx ?? "";
  }

  get #isLater() {
    return getElement(this.#form, "[name=when][value=later]", HTMLInputElement).checked;
  }

  /** Show the fields of the chosen kind, and the time at the customer's. */
  #update() {
    for (const part of allElements(this.#form, "[data-later]")) part.hidden = !this.#isLater;
    for (const part of allElements(this.#form, "[data-now]")) part.hidden = this.#isLater;
    getField(this.#form, "at").required = this.#isLater;
    const [at, place] = [instantOf(getField(this.#form, "at").value), getElement(this.#form, "[data-there]")];
    const times = at ? localTimes(at, this.#zones, document.documentElement.lang) : [];
    place.textContent = times.length ? fillIn(place.dataset.there ?? "", { times: times.join(", ") }) : "";
  }

  #lookLater() {
    clearTimeout(this.#looking);
    this.#looking = setTimeout(() => this.#look(), LOOK_AFTER_MS);
  }

  /** Find the time zones of the number. Without them the dialog works all the same. */
  async #look() {
    const number = getField(this.#form, "number").value.trim();
    this.#zones = [];
    const { pbx } = chosenPbx(this.#form);
    const path = `/numbers/${encodeURIComponent(number)}${pbx ? `?pbx=${encodeURIComponent(pbx)}` : ""}`;
    const found = number ? await callApi("GET", path).catch(() => null) : null;
    if (number !== getField(this.#form, "number").value.trim()) return; // another one was typed meanwhile
    this.#zones = found?.zones ?? [];
    this.#update();
  }

  async #send() {
    showFault(this.#form, "");
    const done = lock(this.#form, () => (this.#isLater ? this.#promise() : this.#dial()));
    await done.catch((error) => showFault(this.#form, error.message));
  }

  async #dial() {
    await dial(this.#form, this.#value("number"));
    this.#dialog.close();
  }

  async #promise() {
    const at = instantOf(this.#value("at"));
    await callApi("POST", "/callbacks", {
      from: this.#value("from"),
      to: this.#value("number"),
      at: at?.toISOString(),
      ...chosenPbx(this.#form),
      name: this.#asked.name || undefined, // JSON leaves it out
      call_id: this.#asked.call || undefined,
      note: this.#value("note") || undefined,
    });
    this.#dialog.close();
    toast(this.#dialog.dataset.promised);
    await refresh("#callbacks");
  }

  /** @param {string} name */
  #value(name) {
    return getField(this.#form, name).value.trim();
  }
}

/** @param {HTMLDialogElement} dialog */
export function mount(dialog) {
  new Dialog(dialog);
}
