/** The stream of events, followed for as long as it is wanted. */
import { ask } from "./http.js";

export const COMES_BACK_AFTER_MS = 5000;

/**
 * Opens the stream, and opens it anew whatever ends it, until it is closed.
 *
 * `take` gets every event of the `types`. `began` is called each time that the stream is there: with
 * true where something may have been missed, and what is shown is to be read anew. `broke` is called
 * when it is away.
 */
export class Following {
  #types;
  #calls;
  #source = null;
  #retry = null;
  #closed = false;

  constructor(types, { take, began, broke = () => {} }) {
    this.#types = types;
    this.#calls = { take, began, broke };
    this.#open();
  }

  close() {
    this.#closed = true;
    this.#source.close();
    clearTimeout(this.#retry);
  }

  #open() {
    const { take, began } = this.#calls;
    let anew = true;
    this.#source = new EventSource("/api/v1/events");
    this.#source.onopen = () => {
      began(anew);
      anew = false;
    };
    this.#source.onerror = () => this.#broken();
    this.#source.addEventListener("events.lost", () => began(true));
    for (const type of this.#types) {
      this.#source.addEventListener(type, ({ data }) => take(JSON.parse(data)));
    }
  }

  /** The browser comes back by itself, but not after an answer that is no stream. */
  #broken() {
    this.#calls.broke();
    if (this.#source.readyState !== EventSource.CLOSED) return;
    this.#retry = setTimeout(async () => {
      await ask("GET", "/calls?limit=1").catch(() => null); // leads to the form where that is why
      if (!this.#closed) this.#open();
    }, COMES_BACK_AFTER_MS);
  }
}
