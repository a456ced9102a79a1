/**
 * The bar at the bottom, which shows what the person hears.
 *
 * It stands beside the page and not in it, so it stays when another page comes.
 */
import { allElements, getElement } from "./dom.js";
import { Meters } from "./meters.js";

export class Bar {
  #root;
  /** The levels of the customer, the agent and the microphone. */
  meters;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    this.meters = new Meters(root);
  }

  /** The texts that the service wrote on the bar, and the name of the person. */
  get texts() {
    return this.#root.dataset;
  }

  /** Whether this person may listen at all. */
  get hasModes() {
    return this.#root.querySelector("[name=mode]") !== null;
  }

  /** Keep space below the page, so that the bar covers neither its last line nor a message. */
  reserveHeight() {
    const reserve = () =>
      document.documentElement.style.setProperty("--bar", `${this.#root.offsetHeight}px`);
    new ResizeObserver(reserve).observe(this.#root);
  }

  /**
   * Show the bar, and hand its buttons to these functions until the signal aborts.
   *
   * @param {object} handlers
   * @param {(mode: string) => void} handlers.choose
   * @param {() => void} handlers.end
   * @param {() => void} handlers.again
   * @param {AbortSignal} signal
   */
  show({ choose, end, again }, signal) {
    this.setMode("listen");
    this.#root.hidden = false;
    const changed = (/** @type {Event} */ { target }) => {
      if (target instanceof HTMLInputElement && target.name === "mode") choose(target.value);
    };
    this.#root.addEventListener("change", changed, { signal });
    getElement(this.#root, "[data-end]").addEventListener("click", end, { signal });
    getElement(this.#root, "[data-again]").addEventListener("click", again, { signal });
  }

  hide() {
    this.#root.hidden = true;
  }

  /** @param {string[]} numbers the numbers of the parties */
  setParties(numbers) {
    getElement(this.#root, ".who").textContent = numbers.join(" ⇄ ");
  }

  /** @param {string} mode */
  setMode(mode) {
    getElement(this.#root, `[value=${mode}]`, HTMLInputElement).checked = true;
  }

  /**
   * @param {string} state the state of a spy, or "connecting", "reconnecting", "deaf", "lost",
   *   "replaced", "reloaded"
   * @param {{ isOver: boolean, hasMeters: boolean, isUnheard: boolean }} shows
   */
  setState(state, { isOver, hasMeters, isUnheard }) {
    for (const text of allElements(this.#root, "[data-when]")) {
      text.hidden = text.dataset.when !== state;
    }
    getElement(this.#root, "[data-unheard]").hidden = isOver || !isUnheard;
    for (const part of allElements(this.#root, "[data-over]")) part.hidden = !isOver;
    for (const part of allElements(this.#root, "[data-goes-on]")) part.hidden = isOver;
    getElement(this.#root, ".meters").hidden = isOver || !hasMeters;
  }
}
