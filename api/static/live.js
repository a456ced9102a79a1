/** The page of the live calls: search, count, buttons, and whether the page is connected. */
import { getElement, readJson, targetOf } from "./dom.js";
import { showConnection, whileSeen } from "./following.js";
import { callApi, listAll } from "./http.js";
import { heard, listen } from "./listening.js";
import { LiveFeed } from "./live-feed.js";
import { LiveModel, RUNNING, describe, matches } from "./live-model.js";
import { LiveRows } from "./live-rows.js";
import { toast, whenGone } from "./page.js";
import { Parts } from "./refreshing.js";
import { takeIn } from "./take-in.js";

const MISSED_AFTER_MS = 1000;

class LivePage {
  #root;
  #model = new LiveModel();
  #rows;
  #stream;
  #parts = new Parts(MISSED_AFTER_MS); // calls that end together are one change
  #search = { words: "", queue: "", team: "" };

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    const page = {
      words: readJson(root, "[data-words]"),
      teams: readJson(root, "[data-teams]"),
      names: readJson(root, "[data-names]"),
      seesAll: "all" in root.dataset,
    };
    const callOf = (/** @type {string} */ id) => this.#model.calls.get(id);
    const body = getElement(root, "tbody");
    this.#rows = new LiveRows(body, getElement(root, "template", HTMLTemplateElement), {
      row: (id) => {
        const call = callOf(id);
        return call ? describe(this.#model, call, page, heard()?.call_id ?? null) : null;
      },
      isFound: (id) => {
        const call = callOf(id);
        return call !== undefined && matches(call, this.#search, page.teams, page.names);
      },
      written: () => this.#summarise(),
    });
    const feed = new LiveFeed(this.#model, () => readLists("spies" in root.dataset), {
      listed: () => {
        this.#rows.changeAll(this.#model.calls.keys());
        getElement(root, "[data-loading]").hidden = true;
      },
      changed: (callIds) => {
        this.#rows.change(callIds);
        if (callIds.some((id) => callOf(id)?.state === "ended")) this.#parts.change("#missed");
      },
      connection: (isConnected) => showConnection(root, isConnected),
    });
    const form = getElement(root, "form", HTMLFormElement);
    form.addEventListener("input", () => {
      this.#readSearch(form);
      this.#rows.search();
    });
    form.addEventListener("submit", (event) => event.preventDefault()); // typing has searched already
    body.addEventListener("click", (event) => this.#clicked(event));
    this.#readSearch(form);
    this.#stream = whileSeen(() => {
      feed.open();
      return feed;
    });
  }

  close() {
    this.#parts.close();
    this.#stream.close();
    this.#rows.close();
  }

  /** @param {HTMLFormElement} form */
  #readSearch(form) {
    const fields = new FormData(form);
    const field = (/** @type {string} */ name) => String(fields.get(name) ?? "");
    this.#search = {
      words: field("words").trim().toLowerCase(),
      queue: field("queue"),
      team: field("team"),
    };
  }

  /** @param {Event} event */
  async #clicked(event) {
    const button = targetOf(event)?.closest("button[data-act]");
    const row = button?.closest("tr");
    if (!(button instanceof HTMLButtonElement) || !row) return;
    button.disabled = true;
    try {
      await this.#act(button.dataset.act, row.dataset.call ?? "");
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { bad: true });
    } finally {
      button.disabled = false;
    }
  }

  /**
   * @param {string | undefined} action
   * @param {string} callId
   */
  async #act(action, callId) {
    const [call, recording] = [this.#model.calls.get(callId), this.#model.recordingOf(callId)];
    if (action === "record") await callApi("POST", `/calls/${encodeURIComponent(callId)}/recordings`, {});
    else if (action === "listen") await (call && listen(call));
    else if (action === "conference") await takeIn(callId);
    else if (recording) await callApi("POST", `/recordings/${recording.id}/${action}`, {});
  }

  #summarise() {
    const [count, shown] = [this.#rows.count, this.#rows.shownCount];
    const part = (/** @type {string} */ selector) => getElement(this.#root, selector);
    part("[data-count]").textContent = shown === count ? `${shown}` : `${shown} / ${count}`;
    part("[data-empty]").hidden = count > 0;
    part("[data-none]").hidden = count === 0 || shown > 0;
    part(".table").hidden = shown === 0;
    const queues = getElement(this.#root, "select[name=queue]", HTMLSelectElement);
    const known = new Set([...queues.options].map(({ value }) => value));
    for (const queue of this.#model.queues()) {
      if (!known.has(queue)) queues.add(new Option(queue, queue));
    }
  }
}

/**
 * Read all live calls, running recordings and spies.
 *
 * @param {boolean} hasSpies whether the viewer may see spies
 */
async function readLists(hasSpies) {
  const [calls, spies, ...recordings] = await Promise.all([
    listAll("/calls"),
    hasSpies ? listAll("/spies") : [],
    ...RUNNING.map((state) => listAll(`/recordings?state=${state}`)),
  ]);
  return { calls, spies, recordings: recordings.flat() };
}

/**
 * Show the live calls in a part of the page until the part is gone.
 *
 * @param {HTMLElement} root
 */
export function mount(root) {
  const page = new LivePage(root);
  whenGone(root, () => page.close());
}
