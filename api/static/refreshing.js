/**
 * Parts of a page that are read again when an event says that they have changed.
 *
 *     <div data-module="refreshing" data-part="#callbacks" data-events="callback.waiting callback.done">
 *       <section id="callbacks">…
 *
 * The element stays, and its part is replaced.
 */
import { refresh } from "./act.js";
import { follow, whileSeen } from "./following.js";
import { whenGone } from "./page.js";

const GATHER_MS = 300; // events that come together are one change

/**
 * Read parts of the page again, one after the other, however many events ask for them.
 *
 * Example: `const parts = new Parts(); parts.change("#conferences");`
 */
export class Parts {
  /** @type {Set<string>} selectors */
  #changed = new Set();
  #isRunning = false;
  #isClosed = false;
  #gatherMs;

  /** @param {number} [gatherMs] for how long to wait for more changes */
  constructor(gatherMs = GATHER_MS) {
    this.#gatherMs = gatherMs;
  }

  /** @param {string} selector */
  change(selector) {
    this.#changed.add(selector);
    if (!this.#isRunning) this.#run();
  }

  close() {
    this.#isClosed = true;
  }

  async #run() {
    this.#isRunning = true;
    while (this.#changed.size && !this.#isClosed) {
      await new Promise((wake) => setTimeout(wake, this.#gatherMs));
      const changed = [...this.#changed];
      this.#changed.clear();
      for (const selector of changed) if (!this.#isClosed) await refresh(selector);
    }
    this.#isRunning = false;
  }
}

/** @param {HTMLElement} root */
export function mount(root) {
  const { part = "", events = "" } = root.dataset;
  const parts = new Parts();
  const stream = whileSeen(() =>
    follow(events.split(" "), {
      receive: () => parts.change(part),
      opened: (mayHaveGap) => {
        if (mayHaveGap) parts.change(part);
      },
    }),
  );
  whenGone(root, () => {
    stream.close();
    parts.close();
  });
}
