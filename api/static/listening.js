/** Listening to a call: one spy at a time, in this page or on the person's phone. */
import { Bar } from "./bar.js";
import { getElement } from "./dom.js";
import { follow } from "./following.js";
import { callApi, listAll } from "./http.js";
import { parties } from "./live-model.js";
import { toast } from "./page.js";
import { BROWSER, destination } from "./phone.js";
import { Spy } from "./spy.js";
import { wordsFor } from "./words.js";

/** @typedef {Pick<Api.Call, "id" | "caller" | "callee" | "agent">} Listened the known facts of a call */

const CALL_EVENTS = ["call.ringing", "call.up", "call.changed"];
const SPY_EVENTS = ["ringing", "live", "switched", "moved", "unheard", "heard-again", "ended"].map(
  (name) => `spy.${name}`,
);
const RELOADED = "earwitness-reloaded"; // the key in the storage of this tab
const bar = new Bar(getElement(document, "#bar"));
/** @type {Listening | null} */
let current = null;
let turn = 0; // counts the clicks on Listen

/**
 * Return the spy that sounds now, or null.
 *
 * @returns {Api.Spy | null}
 */
export function heard() {
  return current?.isOver === false ? current.spy : null;
}

/**
 * Listen to a call. End the present spy first; after two quick clicks only the second call sounds.
 *
 * @param {Listened} call
 */
export async function listen(call) {
  turn += 1;
  const own = turn;
  await end();
  if (own !== turn) return;
  const where = destination();
  if (where === BROWSER && !window.isSecureContext) throw new Error(bar.texts.insecure);
  const path = `/calls/${encodeURIComponent(call.id)}/spies`;
  const spy = await callApi("POST", path, { mode: "listen", destination: where });
  const listening = new Listening(spy, call);
  if (own !== turn) {
    await listening.end();
    return;
  }
  current = listening;
  try {
    await listening.start();
  } catch (error) {
    if (current === listening) current = null;
    await listening.end();
    throw error;
  }
}

/** End the present spy. If the service refuses, the spy stays on the bar. */
async function end() {
  const ending = current;
  current = null;
  try {
    await ending?.end();
  } catch (error) {
    current ??= ending;
    throw error;
  }
}

/**
 * End the spy of a page that goes, and let its next page offer to listen again.
 *
 * A reload cannot keep the sound: a browser stays silent before the first click.
 */
function leavePage() {
  if (!current?.isInPage) return;
  const spyId = current.isOver ? null : current.spy.id;
  const left = { person: bar.texts.person, call: current.call, spyId };
  sessionStorage.setItem(RELOADED, JSON.stringify(left));
  if (spyId) endQuietly(spyId);
}

/** @param {string} spyId */
function endQuietly(spyId) {
  callApi("DELETE", `/spies/${spyId}`, undefined, { keepalive: true }).catch(() => null);
}

/** Offer to listen again if the page before this one sounded. Return whether it did. */
function offerAgain() {
  const left = sessionStorage.getItem(RELOADED);
  sessionStorage.removeItem(RELOADED); // a copy of the tab must not offer it too
  if (!left || !bar.hasModes) return false;
  const { person, call, spyId } = JSON.parse(left);
  if (person !== bar.texts.person) return false;
  if (spyId) endQuietly(spyId); // the browser may have dropped the request of a page that went
  current = Listening.reloaded(call);
  return true;
}

/** @param {Error} error */
function showError({ message }) {
  toast(message, { bad: true });
}

/** Show the spy on the person's phone again: it goes on while pages come and go. */
async function resumePhone() {
  if (!bar.hasModes) return;
  /** @type {Api.Spy[]} */
  const spies = await listAll("/spies");
  const spy = spies.find((one) => one.supervisor === bar.texts.person && one.destination !== BROWSER);
  if (!spy || turn) return;
  const unknown = { id: spy.call_id, caller: {}, callee: {}, agent: null };
  const path = `/calls/${encodeURIComponent(spy.call_id)}`;
  const call = await callApi("GET", path).catch(() => unknown);
  if (turn) return; // the person has clicked on Listen meanwhile
  current = new Listening(spy, call);
  await current.start();
}

class Listening {
  #call;
  /** @type {Spy | null} */
  #audio = null;
  /** @type {{ close(): void } | null} */
  #stream = null;
  #shown = new AbortController();
  #isEnding = false;
  isOver = false;

  /**
   * @param {Api.Spy} spy
   * @param {Listened} call
   */
  constructor(spy, call) {
    this.spy = spy;
    this.#call = call;
    this.isInPage = Boolean(spy.audio_url);
  }

  /**
   * Show on the bar that the spy of an earlier page has ended, and offer to listen again.
   *
   * @param {Listened} call
   */
  static reloaded(call) {
    const spy = { id: "", call_id: call.id, mode: "listen", state: "ended", supervisor: "", cause: null };
    const listening = new Listening({ ...spy, destination: BROWSER, audio_url: "gone" }, call);
    listening.isOver = true;
    listening.#show();
    listening.#setState("reloaded");
    return listening;
  }

  /** The facts of the call that are known last. */
  get call() {
    const { id, caller, callee, agent } = this.#call;
    return { id, caller, callee, agent };
  }

  #show() {
    this.#setCall(this.#call);
    bar.show(
      {
        choose: (mode) => this.#switch(mode),
        end: () => end().catch(showError),
        again: () => listen(this.#call).catch(showError),
      },
      this.#shown.signal,
    );
  }

  async start() {
    this.#show();
    this.#setState("connecting");
    if (this.spy.audio_url) await this.#play(this.spy.audio_url);
    else this.#update(this.spy);
    if (!this.isOver) this.#follow();
  }

  /** @param {string} url */
  async #play(url) {
    this.#audio = new Spy(url, { levels: true });
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      this.#audio?.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
    on("state", (state) => this.#update(state));
    on("connection", ({ connected }) => {
      if (connected || this.isOver) return;
      this.#setState("reconnecting");
      bar.meters.clear();
    });
    on("gone", ({ replaced }) => this.#lost(replaced ? "replaced" : "lost"));
    on("microphone", ({ node, error }) => {
      if (node) bar.meters.follow("say", node);
      else toast(`${bar.texts.microphone} ${error}`, { bad: true });
    });
    on("levels", (levels) => bar.meters.show(levels));
    await this.#audio.start();
  }

  /** Follow the call and the spy. A page with sound learns the state of its spy sooner from the sound. */
  #follow() {
    this.#stream = follow([...CALL_EVENTS, ...SPY_EVENTS], {
      receive: ({ type, data }) => {
        if (CALL_EVENTS.includes(type) && data.id === this.spy.call_id) this.#setCall(data);
        if (SPY_EVENTS.includes(type) && data.id === this.spy.id) this.#receiveSpy(data);
      },
      opened: (mayHaveGap) => {
        this.#readSpy();
        if (mayHaveGap) this.#readCall(this.spy.call_id);
      },
    });
  }

  /** Read the spy once, because an event may have come before the stream opened. */
  async #readSpy() {
    const before = this.spy;
    const spy = await callApi("GET", `/spies/${this.spy.id}`).catch(() => null);
    if (spy && this.spy === before) this.#receiveSpy(spy); // else an event was newer
  }

  /** @param {Api.Spy} spy */
  #receiveSpy(spy) {
    if (!this.isInPage || spy.state === "ended") this.#update(spy);
  }

  /**
   * Read the parties of a call. If the person may not see the call, its agent is unknown.
   *
   * @param {string} callId
   */
  async #readCall(callId) {
    const before = this.#call;
    const known = callId === before.id ? before : { ...before, id: callId, agent: null };
    const call = await callApi("GET", `/calls/${encodeURIComponent(callId)}`).catch(() => known);
    if (this.#call === before) this.#setCall(call); // else an event was newer
  }

  /** @param {Listened} call */
  #setCall(call) {
    this.#call = call;
    bar.setParties(parties(call));
  }

  /**
   * @param {Pick<Api.Spy, "state" | "mode" | "cause" | "unheard"> & { call_id?: string, deaf?: boolean }} spy
   */
  #update({ state, mode, cause, call_id, deaf, unheard }) {
    if (this.isOver || this.#isEnding) return;
    if (state === "ended") {
      this.#ended(cause);
      return;
    }
    const callId = call_id ?? this.spy.call_id;
    const hasMoved = callId !== this.spy.call_id;
    this.spy = { ...this.spy, state, mode, call_id: callId, unheard };
    if (hasMoved) this.#readCall(callId);
    bar.setMode(mode);
    this.#setState(state === "live" && deaf ? "deaf" : state);
  }

  /** @param {string} state */
  #setState(state) {
    const isUnheard = Boolean(this.spy.unheard);
    bar.setState(state, { isOver: this.isOver, hasMeters: this.isInPage, isUnheard });
  }

  /** @param {string} mode */
  async #switch(mode) {
    const before = this.spy.mode;
    try {
      const spy = await callApi("PATCH", `/spies/${this.spy.id}`, { mode });
      this.spy = { ...this.spy, mode: spy.mode };
    } catch (error) {
      bar.setMode(before);
      showError(/** @type {Error} */ (error));
    }
  }

  /** End the spy. A page is silent at once; a phone sounds until the service answers, else throw. */
  async end() {
    const wasOver = this.isOver;
    if (wasOver || this.isInPage) this.#leave();
    if (wasOver) return;
    this.#isEnding = true;
    try {
      await callApi("DELETE", `/spies/${this.spy.id}`);
      this.#leave();
    } catch (error) {
      this.#isEnding = false;
      if (!this.isInPage) throw error;
      showError(/** @type {Error} */ (error));
    }
  }

  /**
   * Say at once that the sound is lost, then show the cause if the service knows a better one.
   *
   * @param {"lost" | "replaced"} why
   */
  async #lost(why) {
    if (this.isOver) return;
    this.#silence(why);
    const spy = await callApi("GET", `/spies/${this.spy.id}`).catch(() => null);
    if (spy?.state === "ended" && current === this) this.#ended(spy.cause);
  }

  /** @param {string | null} cause */
  #ended(cause) {
    if (cause === "page-lost") {
      this.#silence("lost");
      return;
    }
    toast(`${bar.texts.ended} (${wordsFor("ended", cause) || cause})`);
    if (current === this) current = null;
    this.#leave();
  }

  /**
   * Stop the sound, but leave the bar, which says why and offers to listen again.
   *
   * @param {string} why
   */
  #silence(why) {
    this.#stop();
    bar.meters.clear();
    this.#setState(why);
  }

  #leave() {
    this.#stop();
    this.#shown.abort();
    if (current === null) bar.hide();
  }

  #stop() {
    if (this.isOver) return; // the bar may show another spy by now
    this.isOver = true;
    bar.meters.stop();
    this.#stream?.close();
    this.#audio?.close();
  }
}

/** Prepare the bar, and show the spy on the person's phone if there is one. */
export function mount() {
  bar.reserveHeight();
  window.addEventListener("pagehide", leavePage);
  if (!offerAgain()) resumePhone().catch(showError);
}
