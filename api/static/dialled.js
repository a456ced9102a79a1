/**
 * The call that the person has set up: its steps, from the ring of the person's phone to the end.
 *
 * The card stands beside the page, so it stays while the person goes from page to page.
 */
import { getElement, getField } from "./dom.js";
import { stepOf } from "./dial-model.js";
import { callApi } from "./http.js";
import { chosenPbx } from "./own-phone.js";
import { showFault } from "./page.js";
import { formatDuration } from "./times.js";
import { wordsFor } from "./words.js";

const LOOK_EVERY_MS = 1000;
const SHOWN_MS = 15_000; // for how long the end of a call stays on the card
const DIALLED = "earwitness-dialled"; // the key in the storage of this tab

/** @type {Card | null} */
let card = null;

/**
 * Ring the person's phone, then call the number. Throw an error with a sentence if that is refused.
 *
 * @param {HTMLFormElement} form with the fields `from` and `record`, and `pbx` where several dial
 * @param {string} to
 */
export async function dial(form, to) {
  // If the answer is lost and the browser sends the request again, no phone rings twice.
  const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
  const record = getField(form, "record").checked || undefined; // undefined: the rules decide
  const wanted = { from: getField(form, "from").value.trim(), to, ...chosenPbx(form), record };
  showCall(await callApi("POST", "/calls", wanted, { headers }));
}

/**
 * Show a call that was set up here, also for a campaign.
 *
 * @param {Api.Call} call
 */
export function showCall(call) {
  card?.follow(call);
}

class Card {
  #root;
  /** @type {Api.Call | null} */
  #call = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    getElement(root, "[data-close]").addEventListener("click", () => this.#close());
    getElement(root, "[data-hang-up]").addEventListener("click", () => this.#hangUp());
  }

  /**
   * Show a call until it has ended.
   *
   * @param {Api.Call} call
   */
  follow(call) {
    clearTimeout(this.#timer);
    sessionStorage.setItem(DIALLED, call.id);
    getElement(this.#root, "[data-number]").textContent = call.dial?.number ?? "";
    showFault(this.#root, "");
    this.#root.hidden = false;
    this.#show(call);
  }

  /** @param {Api.Call} call */
  #show(call) {
    this.#call = call;
    const step = stepOf(call);
    const isOver = step === "ended";
    const cause = wordsFor("dialled", call.dial?.cause) || wordsFor("dialled", "ended");
    const said = isOver ? cause : wordsFor("dial", step);
    const place = getElement(this.#root, "[role=status]");
    if (place.textContent !== said) place.textContent = said; // a screen reader reads each change
    getElement(this.#root, "[data-duration]").textContent = durationOf(call);
    getElement(this.#root, "[data-hang-up]").hidden = isOver;
    getElement(this.#root, "[data-close]").hidden = !isOver;
    this.#root.dataset.step = step;
    this.#timer = setTimeout(() => (isOver ? this.#close() : this.#look()), isOver ? SHOWN_MS : LOOK_EVERY_MS);
    if (isOver) sessionStorage.removeItem(DIALLED);
  }

  async #look() {
    const followed = this.#call;
    if (!followed) return;
    const path = `/calls/${encodeURIComponent(followed.id)}`;
    /** @type {Api.Call} */
    const call = await callApi("GET", path).catch(() => followed); // look again in a second
    if (this.#call === followed) this.#show(call);
  }

  async #hangUp() {
    const button = getElement(this.#root, "[data-hang-up]", HTMLButtonElement);
    button.disabled = true;
    try {
      await callApi("DELETE", `/calls/${encodeURIComponent(this.#call?.id ?? "")}`);
    } catch (error) {
      showFault(this.#root, /** @type {Error} */ (error).message);
    } finally {
      button.disabled = false;
    }
  }

  #close() {
    clearTimeout(this.#timer);
    this.#call = null;
    this.#root.hidden = true;
  }
}

/**
 * Return how long the two have talked, or "" before they do.
 *
 * @param {Api.Call} call
 */
function durationOf({ dial: dialled, answered_at, ended_at, state }) {
  const from = dialled ? dialled.talked_at : state === "up" ? answered_at : null;
  if (!from) return "";
  const end = ended_at ? new Date(ended_at) : new Date();
  return formatDuration((end.getTime() - new Date(from).getTime()) / 1000);
}

/**
 * Prepare the card, and show the call again that an earlier page has set up.
 *
 * @param {HTMLElement} root
 */
export async function mount(root) {
  card = new Card(root);
  const id = sessionStorage.getItem(DIALLED);
  if (!id) return;
  const call = await callApi("GET", `/calls/${encodeURIComponent(id)}`).catch(() => null);
  if (call && stepOf(call) !== "ended" && root.hidden) card.follow(call);
}
