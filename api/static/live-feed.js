/**
 * Keep a `LiveModel` up to date from the lists and the stream of events of the API.
 *
 * The stream opens before the lists are read, and events that arrive meanwhile are applied after the
 * lists. Until the lists are there, the page shows nothing of the events.
 */
import { RETRY_AFTER_MS, follow } from "./following.js";
import { EVENT_TYPES } from "./live-model.js";

const FORGET_AFTER_MS = 2000; // the viewer sees for a moment that a call is over

/** @typedef {import("./live-model.js").LiveModel} LiveModel */

export class LiveFeed {
  #model;
  #readLists;
  #handlers;
  /** @type {{ close(): void } | null} */
  #stream = null;
  #isConnected = false;
  /** @type {Api.Event[] | null} events that wait for the lists; null once the lists are there */
  #backlog = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /**
   * @param {LiveModel} model
   * @param {() => Promise<Parameters<LiveModel["replace"]>[0]>} readLists
   * @param {object} handlers
   * @param {() => void} handlers.listed called when the whole model is new
   * @param {(callIds: string[]) => void} handlers.changed called with the calls that look different
   * @param {(isConnected: boolean) => void} handlers.connection
   */
  constructor(model, readLists, handlers) {
    this.#model = model;
    this.#readLists = readLists;
    this.#handlers = handlers;
  }

  open() {
    this.#stream = follow(EVENT_TYPES, {
      receive: (event) => (this.#backlog ? this.#backlog.push(event) : this.#apply(event)),
      opened: (mayHaveGap) => {
        this.#isConnected = true;
        if (mayHaveGap) this.#list();
        else if (!this.#backlog) this.#handlers.connection(true);
      },
      broke: () => {
        this.#isConnected = false;
        this.#handlers.connection(false);
      },
    });
  }

  close() {
    this.#stream?.close();
    clearTimeout(this.#retry);
    this.#backlog = []; // lists that are still on their way are ignored
  }

  /** Read the lists, apply the events that came meanwhile, and retry until the service answers. */
  async #list() {
    clearTimeout(this.#retry);
    /** @type {Api.Event[]} */
    const backlog = (this.#backlog = []);
    const lists = await this.#readLists().catch(() => null);
    if (this.#backlog !== backlog) return; // newer lists are on their way
    if (lists === null) {
      this.#handlers.connection(false);
      this.#retry = setTimeout(() => this.#list(), RETRY_AFTER_MS);
      return;
    }
    this.#model.replace(lists);
    this.#backlog = null;
    for (const event of backlog) this.#apply(event);
    this.#handlers.listed();
    this.#handlers.connection(this.#isConnected);
  }

  /** @param {Api.Event} event */
  #apply(event) {
    const { calls, over, isStale } = this.#model.apply(event);
    this.#handlers.changed(calls);
    if (over) setTimeout(() => this.#forget(over), FORGET_AFTER_MS);
    if (isStale) this.#list();
  }

  /** @param {string} callId */
  #forget(callId) {
    if (this.#model.forget(callId)) this.#handlers.changed([callId]);
  }
}
