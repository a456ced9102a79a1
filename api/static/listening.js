/**
 * The bar in which one listens: a spy on a call, in the browser or on one's own phone.
 *
 * It is no part of the pages, so it stays while they change.
 */
import { follow } from "./following.js";
import { ask, askAll } from "./http.js";
import { toast } from "./page.js";
import { Spy } from "./spy.js";
import { wordsFor } from "./words.js";

const QUIET_DB = -60;
const PHONE = "earwitness-phone";
const CALL = ["call.ringing", "call.up", "call.changed"];
const SPY = ["ringing", "live", "switched", "moved", "ended"].map((one) => `spy.${one}`);
const bar = document.getElementById("bar");
let current = null;
let asked = 0;

/** The spy that is heard now, or null. */
export function heard() {
  return current?.isOver === false ? current.spy : null;
}

/** The numbers of who talk with each other; of a call to outside the caller is the agent. */
export function parties({ direction, caller, callee, agent }) {
  const sides = direction === "outbound" ? [callee] : [caller, callee];
  const other = sides.find(({ number }) => number && number !== agent);
  return [other?.number, agent].filter(Boolean);
}

/** Listen to a call; whatever was heard before ends, and of two that are asked for the last is heard. */
export async function listen(call) {
  asked += 1;
  const turn = asked;
  await end();
  if (turn !== asked) return;
  const destination = localStorage.getItem(PHONE) || "browser";
  if (destination === "browser" && !window.isSecureContext) throw new Error(bar.dataset.insecure);
  const path = `/calls/${encodeURIComponent(call.id)}/spies`;
  const spy = await ask("POST", path, { mode: "listen", destination });
  const listening = new Listening(spy, call);
  if (turn !== asked) {
    await listening.end();
    return;
  }
  current = listening;
  try {
    await listening.begin();
  } catch (error) {
    if (current === listening) current = null;
    await listening.end();
    throw error;
  }
}

/** What is heard goes on, and is shown, where it cannot be ended. */
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

function complain({ message }) {
  toast(message, { bad: true });
}

/** A phone goes on while pages come and go: show what one hears by it. */
async function takeUp() {
  if (!bar.querySelector("[name=mode]")) return; // one may hear nothing
  const mine = ({ supervisor, destination }) =>
    supervisor === bar.dataset.person && destination !== "browser";
  const spy = (await askAll("/spies")).find(mine);
  if (!spy || asked) return;
  const unknown = { id: spy.call_id, caller: {}, callee: {}, agent: null };
  const path = `/calls/${encodeURIComponent(spy.call_id)}`;
  const call = await ask("GET", path).catch(() => unknown);
  if (asked) return; // there was a click meanwhile
  current = new Listening(spy, call);
  await current.begin();
}

class Listening {
  #hasSound;
  #audio = null;
  #following = null;
  #frame = null;
  #showSaid = () => {};
  #abort = new AbortController();
  #isEnding = false;
  isOver = false;

  constructor(spy, call) {
    this.spy = spy;
    this.call = call;
    this.#hasSound = Boolean(spy.audio_url);
  }

  async begin() {
    this.#name(this.call);
    bar.querySelector("[value=listen]").checked = true;
    bar.hidden = false;
    const { signal } = this.#abort;
    bar.addEventListener("change", ({ target }) => this.#chosen(target), { signal });
    bar.querySelector("[data-end]").addEventListener("click", () => end().catch(complain), { signal });
    bar.querySelector("[data-again]").addEventListener("click", () => this.#again(), { signal });
    this.#state("connecting");
    if (this.#hasSound) await this.#hear();
    else this.#told(this.spy);
    if (!this.isOver) this.#follow();
  }

  /** Who is heard: after a transfer somebody else. */
  #name(call) {
    this.call = call;
    bar.querySelector(".who").textContent = parties(call).join(" ⇄ ");
  }

  async #hear() {
    this.#audio = new Spy(this.spy.audio_url, { levels: true });
    this.#audio.addEventListener("state", ({ detail }) => this.#told(detail));
    this.#audio.addEventListener("connection", ({ detail }) => {
      if (detail.connected || this.isOver) return;
      this.#state("reconnecting");
      this.#quieten();
    });
    this.#audio.addEventListener("gone", ({ detail }) => this.#gone(detail));
    this.#audio.addEventListener("microphone", ({ detail }) => {
      if (detail.node) this.#showSaid = meter(this.#shown("say"), detail.node);
      else toast(`${bar.dataset.microphone} ${detail.error}`, { bad: true });
    });
    this.#audio.addEventListener("levels", ({ detail }) => {
      for (const [side, dbfs] of Object.entries(detail)) show(this.#shown(side), dbfs);
    });
    await this.#audio.start();
    if (!this.isOver) this.#draw();
  }

  /** Events tell who is in the call, and how it goes: a page that is connected knows it sooner. */
  #follow() {
    this.#following = follow([...CALL, ...SPY], {
      take: ({ type, data }) => {
        if (CALL.includes(type) && data.id === this.spy.call_id) this.#name(data);
        if (SPY.includes(type) && data.id === this.spy.id) this.#learnt(data);
      },
      began: (anew) => {
        this.#look();
        if (anew) this.#recall(this.spy.call_id);
      },
    });
  }

  /** What no event told: it came before the stream, or while that was away. */
  async #look() {
    const before = this.spy;
    const spy = await ask("GET", `/spies/${this.spy.id}`).catch(() => null);
    if (spy && this.spy === before) this.#learnt(spy); // else something newer is known
  }

  #learnt(spy) {
    if (!this.#hasSound || spy.state === "ended") this.#told(spy);
  }

  /** It is said at once; then, where the service answers, whether there is another reason. */
  async #gone({ replaced }) {
    if (this.isOver) return;
    this.#lose(replaced ? "replaced" : "lost");
    const spy = await ask("GET", `/spies/${this.spy.id}`).catch(() => null);
    if (spy?.state === "ended" && current === this) this.#ended(spy);
  }

  /** Who is in this call; of another that one may not see, it is not known who the agent is. */
  async #recall(callId) {
    const before = this.call;
    const known = callId === before.id ? before : { ...before, id: callId, agent: null };
    const call = await ask("GET", `/calls/${encodeURIComponent(callId)}`).catch(() => known);
    if (this.call === before) this.#name(call); // else something newer is known
  }

  #told({ state, mode, cause, call_id }) {
    if (this.isOver || this.#isEnding) return;
    if (state === "ended") {
      this.#ended({ cause });
      return;
    }
    const moved = call_id && call_id !== this.spy.call_id;
    this.spy = { ...this.spy, state, mode, call_id: call_id ?? this.spy.call_id };
    if (moved) this.#recall(call_id);
    bar.querySelector(`[value=${mode}]`).checked = true;
    this.#state(state);
  }

  #ended({ cause }) {
    if (cause === "page-lost") {
      this.#lose("lost");
      return;
    }
    toast(`${bar.dataset.ended} (${wordsFor("ended", cause) || cause})`);
    if (current === this) current = null;
    this.#leave();
  }

  #state(state) {
    for (const word of bar.querySelectorAll("[data-when]")) {
      word.hidden = word.dataset.when !== state;
    }
    for (const part of bar.querySelectorAll("[data-over]")) part.hidden = !this.isOver;
    for (const part of bar.querySelectorAll("[data-goes-on]")) part.hidden = this.isOver;
    bar.querySelector(".meters").hidden = this.isOver || !this.#hasSound;
  }

  async #chosen(target) {
    if (target.name !== "mode") return;
    const before = this.spy.mode;
    try {
      const spy = await ask("PATCH", `/spies/${this.spy.id}`, { mode: target.value });
      this.spy = { ...this.spy, mode: spy.mode };
    } catch (error) {
      bar.querySelector(`[value=${before}]`).checked = true;
      toast(error.message, { bad: true });
    }
  }

  #again() {
    listen(this.call).catch(complain);
  }

  /** In a page it is silent at once; a phone goes on until it is told: then this throws. */
  async end() {
    const wasOver = this.isOver;
    if (wasOver || this.#hasSound) this.#leave();
    if (wasOver) return;
    this.#isEnding = true;
    try {
      await ask("DELETE", `/spies/${this.spy.id}`);
      this.#leave();
    } catch (error) {
      this.#isEnding = false;
      if (!this.#hasSound) throw error;
      complain(error);
    }
  }

  /** Nothing is heard any more, and no more is to be done about it than to say so. */
  #lose(why) {
    this.#stop();
    this.#quieten();
    this.#state(why);
  }

  #leave() {
    this.#stop();
    this.#abort.abort();
    if (current === null) bar.hidden = true;
  }

  #stop() {
    this.isOver = true;
    cancelAnimationFrame(this.#frame);
    this.#following?.close();
    this.#audio?.close();
  }

  // Levels

  #shown(name) {
    return bar.querySelector(`meter[name=${name}]`);
  }

  #quieten() {
    for (const one of bar.querySelectorAll("meter")) one.value = 0;
  }

  #draw() {
    this.#showSaid();
    this.#frame = requestAnimationFrame(() => this.#draw());
  }
}

/** Shows how loud it is now, each time that it is called. */
function meter(shown, node) {
  const analyser = new AnalyserNode(node.context, { fftSize: 512 });
  node.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
    show(shown, 10 * Math.log10(power + 1e-12));
  };
}

function show(meter, dbfs) {
  meter.value = Math.max(0, 1 - dbfs / QUIET_DB);
}

/** The microphone, seen and heard by nobody; pressed again, it is given back. */
async function check(button) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const giveBack = () => stream.getTracks().forEach((track) => track.stop());
  const shown = document.querySelector("meter[name=check]");
  if (!button.isConnected) return giveBack(); // one went on while the browser asked
  const context = new AudioContext();
  const draws = meter(shown, new MediaStreamAudioSourceNode(context, { mediaStream: stream }));
  button.setAttribute("aria-pressed", "true");
  const goesOn = () => button.isConnected && button.getAttribute("aria-pressed") === "true";
  const draw = () => {
    draws();
    if (goesOn()) return requestAnimationFrame(draw);
    giveBack();
    context.close();
  };
  draw();
}

/** Where one listens: in this browser, or on this phone. */
export function mount(element) {
  if (element === bar) {
    // However high it is, it covers neither the end of the page nor what is told.
    const measure = () => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`);
    new ResizeObserver(measure).observe(bar);
    takeUp().catch(complain);
    return;
  }
  const phone = element.querySelector("#phone");
  phone.value = localStorage.getItem(PHONE) ?? "";
  phone.addEventListener("change", () => localStorage.setItem(PHONE, phone.value.trim()));
  element.querySelector("[data-check]").addEventListener("click", async ({ currentTarget }) => {
    if (currentTarget.getAttribute("aria-pressed") === "true") {
      currentTarget.setAttribute("aria-pressed", "false");
      return;
    }
    const { microphone, insecure } = bar.dataset;
    if (!window.isSecureContext) toast(insecure, { bad: true });
    else await check(currentTarget).catch(({ name }) => toast(`${microphone} ${name}`, { bad: true }));
  });
}
