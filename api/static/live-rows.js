/**
 * The rows of the live calls.
 *
 * However many events come, rows are written twice a second. While the viewer is about to choose a
 * row, no row comes or goes, so that a click hits the row under the pointer.
 */
import { allElements, getElement } from "./dom.js";
import { ageOf, isOver } from "./live-model.js";
import { formatDuration } from "./times.js";

const WRITE_EVERY_MS = 500;
const TICK_EVERY_MS = 1000;
const HOLD_MS = 5000; // after so long without a move the viewer is no longer choosing

/** @typedef {import("./live-model.js").Row} Row */

/**
 * @typedef {object} Source where the rows come from
 * @property {(callId: string) => Row | null} row null if the call is gone
 * @property {(callId: string) => boolean} isFound whether the call fits the search
 * @property {() => void} written called each time the rows have been written
 */

export class LiveRows {
  #body;
  #template;
  #source;
  /** @type {Map<string, HTMLTableRowElement>} by call id */
  #rows = new Map();
  /** @type {WeakMap<Element, Row>} what each row shows, as it was written */
  #written = new WeakMap();
  /** @type {Set<string>} */
  #dirty = new Set();
  /** @type {Set<Element>} */
  #visible = new Set();
  #observer = new IntersectionObserver((entries) => this.#seen(entries));
  #touchedAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #writing;
  #ticking;

  /**
   * @param {HTMLElement} body
   * @param {HTMLTemplateElement} template holds one empty row
   * @param {Source} source
   */
  constructor(body, template, source) {
    this.#body = body;
    this.#template = template;
    this.#source = source;
    for (const type of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      body.addEventListener(type, () => (this.#touchedAt = performance.now()));
    }
    this.#ticking = setInterval(() => this.#tick(), TICK_EVERY_MS);
  }

  get count() {
    return this.#rows.size;
  }

  get shownCount() {
    return [...this.#rows.values()].filter((row) => !row.hidden).length;
  }

  /**
   * Write these calls at the next turn.
   *
   * @param {Iterable<string>} callIds
   */
  change(callIds) {
    for (const id of callIds) this.#dirty.add(id);
    this.#writing ??= setTimeout(() => this.#write(), WRITE_EVERY_MS);
  }

  /**
   * Write these calls and every row now, because the whole model is new.
   *
   * @param {Iterable<string>} callIds
   */
  changeAll(callIds) {
    for (const id of [...this.#rows.keys(), ...callIds]) this.#dirty.add(id);
    this.#write();
  }

  /** Show the rows that fit the search, and hide the others. */
  search() {
    for (const [id, row] of this.#rows) row.hidden = !this.#source.isFound(id);
    this.#source.written();
  }

  close() {
    clearInterval(this.#ticking);
    clearTimeout(this.#writing);
    this.#observer.disconnect();
  }

  #write() {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    const [dirty, isHeld] = [this.#dirty, this.#isHeld()];
    this.#dirty = new Set();
    /** @type {Row[]} */
    const added = [];
    for (const id of dirty) {
      const [shown, row] = [this.#source.row(id), this.#rows.get(id)];
      if (shown && row) this.#fill(row, shown);
      else if (isHeld) this.change([id]);
      else if (row) this.#remove(id, row);
      else if (shown) added.push(shown);
    }
    const startOf = (/** @type {Row} */ { call }) => new Date(call.started_at).getTime();
    added.sort((one, other) => startOf(one) - startOf(other)); // the newest call is the first row
    for (const shown of added) this.#add(shown);
    this.#source.written();
  }

  /** Say whether the viewer is about to choose a row. */
  #isHeld() {
    const isRecent = performance.now() - this.#touchedAt < HOLD_MS;
    return isRecent && this.#body.matches(":hover, :focus-within");
  }

  /** @param {Row} shown */
  #add(shown) {
    const empty = getElement(this.#template.content, "tr", HTMLTableRowElement);
    const row = /** @type {HTMLTableRowElement} */ (empty.cloneNode(true));
    row.dataset.call = shown.call.id;
    this.#rows.set(shown.call.id, row);
    this.#body.prepend(row);
    this.#observer.observe(row);
    this.#fill(row, shown);
  }

  /**
   * @param {string} id
   * @param {HTMLTableRowElement} row
   */
  #remove(id, row) {
    this.#observer.unobserve(row);
    this.#visible.delete(row);
    row.remove();
    this.#rows.delete(id);
  }

  /**
   * @param {HTMLTableRowElement} row
   * @param {Row} shown
   */
  #fill(row, shown) {
    const { call, texts, tone, recordingTone, actions, about } = shown;
    const part = (/** @type {string} */ name) => getElement(row, `[data-part=${name}]`);
    for (const [name, text] of Object.entries({ ...texts, ...timesOf(shown, new Date()) })) {
      const element = part(name);
      if (element.textContent !== text) element.textContent = text;
    }
    part("more").title = texts.more;
    part("state").className = `pill ${tone}`;
    part("recording").className = `pill ${recordingTone ?? "warn"}`;
    part("recording").hidden = recordingTone === null;
    for (const button of allElements(row, "button[data-act]")) {
      button.hidden = !actions.has(button.dataset.act ?? "");
      button.setAttribute("aria-label", `${button.textContent?.trim()}: ${about}`);
    }
    this.#written.set(row, shown);
    const isHidden = !this.#source.isFound(call.id);
    if (isHidden !== row.hidden && this.#isHeld()) this.change([call.id]);
    else row.hidden = isHidden;
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target);
      else this.#visible.delete(target);
    }
    this.#tick();
  }

  /** Write the durations of the rows on the screen. */
  #tick() {
    const now = new Date();
    for (const row of this.#visible) {
      const shown = this.#written.get(row);
      if (!shown || isOver(shown.call)) continue;
      for (const [name, text] of Object.entries(timesOf(shown, now))) {
        getElement(row, `[data-part=${name}]`).textContent = text;
      }
    }
  }
}

/**
 * Return the times of a row: the age of the call, and how long its caller has waited in the queue.
 *
 * @param {Row} shown
 * @param {Date} now
 */
function timesOf({ call, waitingSince }, now) {
  const waitedMs = waitingSince ? now.getTime() - new Date(waitingSince).getTime() : null;
  return {
    duration: formatDuration(ageOf(call, now)),
    waited: waitedMs === null ? "" : formatDuration(waitedMs / 1000),
  };
}
