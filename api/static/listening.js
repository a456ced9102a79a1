/**
 * The bar in which one listens: a spy on a call, in the browser or on one's own phone.
 *
 * It is no part of the pages, so it stays while they change.
 */
import { ask } from "./http.js";
import { toast } from "./page.js";
import { wordsFor } from "./words.js";
import { Spy } from "./spy.js";

const QUIET_DB = -60;
const PHONE = "earwitness-phone";
let current = null;

/** The spy that is heard now, or null. */
export function heard() {
  return current?.spy ?? null;
}

/** Listen to a call; whatever was heard before ends. */
export async function listen(call) {
  await end();
  const phone = localStorage.getItem(PHONE);
  const spy = await ask("POST", `/calls/${encodeURIComponent(call.id)}/spies`, {
    mode: "listen",
    destination: phone || "browser",
  });
  current = new Listening(spy, call);
  await current.begin();
}

async function end() {
  const ending = current;
  current = null;
  await ending?.end();
}

class Listening {
  #bar = document.getElementById("bar");
  #audio = null;
  #frame = null;
  #showSaid = () => {};
  #abort = new AbortController();

  constructor(spy, call) {
    this.spy = spy;
    this.call = call;
  }

  async begin() {
    const bar = this.#bar;
    this.#name(this.call);
    bar.querySelector("[value=listen]").checked = true;
    bar.hidden = false;
    bar.querySelector(".meters").hidden = !this.spy.audio_url;
    const { signal } = this.#abort;
    bar.addEventListener("change", ({ target }) => this.#chosen(target), { signal });
    bar.querySelector("[data-end]").addEventListener("click", () => end(), { signal });
    this.#state("connecting");
    this.#follow();
    if (this.spy.audio_url) await this.#hear();
    else this.#told(this.spy);
  }

  /** Who is heard: after a transfer somebody else. */
  #name({ caller, agent }) {
    const who = [caller.number, agent].filter(Boolean).join(" ⇄ ");
    this.#bar.querySelector(".who").textContent = who;
  }

  async #hear() {
    this.#audio = new Spy(this.spy.audio_url, { levels: true });
    this.#audio.addEventListener("state", ({ detail }) => this.#told(detail));
    this.#audio.addEventListener("connection", ({ detail }) => {
      if (!detail.connected) this.#state("reconnecting");
    });
    this.#audio.addEventListener("microphone", ({ detail }) => {
      if (detail.node) this.#showSaid = meter(this.#shown("say"), detail.node);
      else toast(`${this.#bar.dataset.microphone} ${detail.error}`, { bad: true });
    });
    this.#audio.addEventListener("levels", ({ detail }) => {
      for (const [side, dbfs] of Object.entries(detail)) show(this.#shown(side), dbfs);
    });
    await this.#audio.start();
    this.#draw();
  }

  /** Events tell who is in the call, and on the phone how it goes. */
  #follow() {
    const stream = new EventSource("/api/v1/events");
    this.#abort.signal.addEventListener("abort", () => stream.close());
    const take = (type, act) =>
      stream.addEventListener(type, (event) => act(JSON.parse(event.data).data));
    for (const one of ["up", "changed"]) {
      take(`call.${one}`, (call) => call.id === this.spy.call_id && this.#name(call));
    }
    if (this.spy.audio_url) return;
    for (const one of ["ringing", "live", "switched", "moved", "ended"]) {
      take(`spy.${one}`, (spy) => spy.id === this.spy.id && this.#told(spy));
    }
  }

  async #move(callId) {
    try {
      this.#name(await ask("GET", `/calls/${encodeURIComponent(callId)}`));
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  #told({ state, mode, cause, call_id }) {
    if (state === "ended") {
      toast(`${this.#bar.dataset.ended} (${wordsFor("ended", cause) || cause})`);
      if (current === this) current = null;
      this.#leave();
      return;
    }
    if (call_id && call_id !== this.spy.call_id) this.#move(call_id);
    this.spy = { ...this.spy, state, mode, call_id: call_id ?? this.spy.call_id };
    this.#bar.querySelector(`[value=${mode}]`).checked = true;
    this.#state(state);
  }

  #state(state) {
    this.#bar.dataset.state = state;
    for (const word of this.#bar.querySelectorAll("[data-when]")) {
      word.hidden = word.dataset.when !== state;
    }
  }

  async #chosen(target) {
    if (target.name !== "mode") return;
    const before = this.spy.mode;
    try {
      this.spy = { ...this.spy, ...(await ask("PATCH", `/spies/${this.spy.id}`, { mode: target.value })) };
    } catch (error) {
      this.#bar.querySelector(`[value=${before}]`).checked = true;
      toast(error.message, { bad: true });
    }
  }

  async end() {
    this.#leave();
    try {
      await ask("DELETE", `/spies/${this.spy.id}`);
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  #leave() {
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
    this.#audio?.close();
    this.#bar.hidden = true;
  }

  // Levels

  #shown(name) {
    return this.#bar.querySelector(`meter[name=${name}]`);
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
  const context = new AudioContext();
  const draws = meter(
    document.querySelector("meter[name=check]"),
    new MediaStreamAudioSourceNode(context, { mediaStream: stream }),
  );
  button.setAttribute("aria-pressed", "true");
  const goesOn = () => button.isConnected && button.getAttribute("aria-pressed") === "true";
  const draw = () => {
    draws();
    if (goesOn()) requestAnimationFrame(draw);
    else {
      for (const track of stream.getTracks()) track.stop();
      context.close();
    }
  };
  draw();
}

/** Where one listens: in this browser, or on this phone. */
export function mount(element) {
  if (!element.matches("[data-phone]")) return; // the bar waits for a click
  element.value = localStorage.getItem(PHONE) ?? "";
  element.addEventListener("change", () => localStorage.setItem(PHONE, element.value.trim()));
  document.querySelector("[data-check]").addEventListener("click", async ({ currentTarget }) => {
    if (currentTarget.getAttribute("aria-pressed") === "true") {
      currentTarget.setAttribute("aria-pressed", "false");
      return;
    }
    const { microphone } = document.getElementById("bar").dataset;
    await check(currentTarget).catch(({ name }) => toast(`${microphone} ${name}`, { bad: true }));
  });
}
