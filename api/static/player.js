/**
 * The player of a recording.
 *
 * The waveform is drawn from the service's measurement, and the audio comes in ranges as it plays, so a
 * long recording starts at once.
 */
import WaveSurfer from "./vendor/wavesurfer.js";
import { allElements, findElement, getElement, readJson, targetOf } from "./dom.js";
import { send } from "./http.js";
import { hasModifier, letterOf } from "./keys.js";
import { showFault, whenGone } from "./page.js";
import { commonSilences, endOfSilence } from "./silences.js";
import { formatDuration } from "./times.js";

/** @typedef {import("./silences.js").Span} Span */
/** @typedef {{ from_s: number, to_s: number | null }} Missing */

/** @type {Record<string, number>} seconds, by key */
const STEPS = { ArrowLeft: -5, ArrowRight: 5 };
const SIDE_HEIGHT = 72;
// A splitter of Web Audio has no more outputs; a browser plays no file of so many channels anyway.
const MOST_CHANNELS = 32;

/** @param {HTMLElement} root */
export async function mount(root) {
  const player = new Player(root);
  try {
    const waveform = await send("GET", root.dataset.waveform ?? "");
    if (root.isConnected) player.draw(waveform);
  } catch (error) {
    showFault(root, /** @type {Error} */ (error).message);
  }
}

/**
 * Go to a time. Before any audio is loaded the element sends no event of its own.
 *
 * @param {HTMLAudioElement} audio
 * @param {number} at in seconds
 */
export function go(audio, at) {
  audio.currentTime = Math.max(0, at);
  audio.dispatchEvent(new Event("timeupdate"));
}

class Player {
  #root;
  /** @type {string[]} the colour of each side or lane */
  #lanes;
  /** @type {HTMLInputElement[]} the switch of each lane; none for sides */
  #switches;
  #audio;
  #seek;
  #length;
  /** @type {Span[]} */
  #silences = [];
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {GainNode[] | null} one for each side or lane */
  #gains = null;
  #skipsSilence = false;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    this.#lanes = (root.dataset.lanes ?? "").split(" ");
    this.#switches = allElements(root, "[data-lane]", HTMLInputElement);
    const audio = (this.#audio = getElement(root, "audio", HTMLAudioElement));
    this.#length = Number(root.dataset.length);
    const seek = (this.#seek = getElement(root, "#seek", HTMLInputElement));
    const speed = getElement(root, "#speed", HTMLSelectElement);
    const solo = findElement(root, "#solo", HTMLSelectElement);
    getElement(root, "[data-play]").onclick = () => this.#toggle();
    getElement(root, "[data-skip]").onclick = () => this.#toggleSkipping();
    speed.onchange = () => (audio.playbackRate = Number(speed.value));
    seek.oninput = () => go(audio, Number(seek.value));
    if (solo) solo.onchange = () => this.#playAlone(solo.value);
    for (const one of this.#switches) {
      one.onchange = () => this.#play(this.#switches.map((lane) => lane.checked));
    }
    for (const type of ["play", "pause", "ended"]) {
      audio.addEventListener(type, () => this.#showPlaying());
    }
    // A browser plays more than two channels as surround sound: some voices would be faint or lost.
    if (this.#lanes.length > 2) audio.addEventListener("play", () => this.#split());
    audio.addEventListener("timeupdate", () => this.#moved());
    audio.addEventListener("error", () => showFault(root, root.dataset.failed));
    const pressed = (/** @type {KeyboardEvent} */ event) => this.#pressed(event);
    document.addEventListener("keydown", pressed);
    whenGone(root, () => {
      audio.pause();
      this.#context?.close();
      document.removeEventListener("keydown", pressed);
    });
  }

  /**
   * Draw the waveform, the talk of each side or lane, pauses and gaps.
   *
   * @param {{ peaks: number[][], talk: Span[][], silence: Span[][] }} waveform a list for each
   *   channel; peaks go from 0 to 255
   */
  draw({ peaks, talk, silence }) {
    const count = this.#lanes.length; // a further channel belongs to nobody
    const lane = findElement(this.#root, "[data-lane-height]", HTMLElement);
    const wave = WaveSurfer.create({
      container: getElement(this.#root, "#wave"),
      height: lane?.offsetHeight ?? SIDE_HEIGHT,
      barWidth: 2,
      barGap: 1,
      ...coloursOf(this.#lanes),
      media: this.#audio,
      peaks: peaks.slice(0, count).map((side) => side.map((peak) => peak / 255)),
      duration: this.#length,
      cspNonce: getElement(document, "meta[name=nonce]", HTMLMetaElement).content,
    });
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const paint = () => wave.setOptions(coloursOf(this.#lanes));
    scheme.addEventListener("change", paint);
    whenGone(this.#root, () => {
      scheme.removeEventListener("change", paint);
      wave.destroy();
    });
    const talks = allElements(this.#root, "[data-talk]");
    talk.slice(0, count).forEach((spans, side) => {
      for (const span of spans) {
        if (talks.length) this.#mark(span, "talk", talks[side]);
        else this.#mark(span, side === 0 ? "talk-left" : "talk-right");
      }
    });
    /** @type {Record<string, Missing[]>} */
    const missing = readJson(this.#root, "[data-missing]");
    for (const [name, spans] of Object.entries(missing)) {
      for (const { from_s, to_s } of spans) this.#mark([from_s, to_s ?? from_s], name);
    }
    this.#silences = commonSilences(silence.slice(0, count));
  }

  /**
   * @param {Span} span
   * @param {string} name
   * @param {HTMLElement} where
   */
  #mark([from, to], name, where = getElement(this.#root, "[data-spans]")) {
    const mark = document.createElement("i");
    mark.className = name;
    mark.style.left = `${(100 * from) / this.#length}%`;
    mark.style.width = `${(100 * (to - from)) / this.#length}%`;
    where.append(mark);
  }

  #toggle() {
    if (this.#audio.paused) this.#audio.play().catch(() => null); // its "error" event shows the fault
    else this.#audio.pause();
  }

  #showPlaying() {
    const state = this.#audio.paused ? "paused" : "playing";
    for (const face of allElements(this.#root, "[data-play] [data-when]")) {
      face.hidden = face.dataset.when !== state;
    }
  }

  #moved() {
    const now = this.#audio.currentTime;
    this.#seek.value = String(now);
    this.#seek.setAttribute("aria-valuetext", formatDuration(now));
    getElement(this.#root, "[data-now]").textContent = formatDuration(now);
    if (!this.#skipsSilence || this.#audio.paused) return;
    const next = endOfSilence(this.#silences, now);
    if (next !== null) this.#audio.currentTime = next;
  }

  #toggleSkipping() {
    this.#skipsSilence = !this.#skipsSilence;
    getElement(this.#root, "[data-skip]").setAttribute("aria-pressed", String(this.#skipsSilence));
  }

  /**
   * Play one side or lane alone, in both ears.
   *
   * @param {string} side its number; "" plays all
   */
  #playAlone(side) {
    const heard = this.#lanes.map((_, n) => side === "" || Number(side) === n);
    this.#switches.forEach((lane, n) => (lane.checked = heard[n]));
    this.#play(heard);
  }

  /** @param {boolean[]} heard whether each side or lane is played */
  #play(heard) {
    const rest = heard.every(Boolean); // a channel without a lane is heard with everybody
    this.#split().forEach((gain, n) => (gain.gain.value = (heard[n] ?? rest) ? 1 : 0));
  }

  /** Play each side or lane in both ears from now on, and return their gains. */
  #split() {
    if (this.#gains) return this.#gains;
    const context = (this.#context = new AudioContext());
    const numberOfOutputs = Math.min(Number(this.#root.dataset.channels), MOST_CHANNELS);
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs });
    new MediaElementAudioSourceNode(context, { mediaElement: this.#audio }).connect(splitter);
    return (this.#gains = Array.from({ length: numberOfOutputs }, (_, side) => {
      const gain = new GainNode(context);
      splitter.connect(gain, side);
      gain.connect(context.destination);
      return gain;
    }));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const control = "input:not([type=range]), select, textarea, button, summary, a";
    if (targetOf(event)?.closest(control) || hasModifier(event)) return;
    if (event.key === " ") this.#toggle();
    else if (letterOf(event) === "s") this.#toggleSkipping();
    else if (event.key in STEPS) go(this.#audio, this.#audio.currentTime + STEPS[event.key]);
    else return;
    event.preventDefault();
  }
}

/**
 * Return the colours of the waveform, light or dark.
 *
 * @param {string[]} lanes the colour of each side or lane, such as `customer`
 */
function coloursOf(lanes) {
  const style = getComputedStyle(document.documentElement);
  const named = (/** @type {string} */ name) => canvasColour(style.getPropertyValue(name));
  const [cursorColor, progressColor] = ["--text", "--quiet"].map(named);
  const split = lanes.map((lane) => ({ waveColor: named(`--${lane}`), progressColor }));
  return { cursorColor, splitChannels: split };
}

/**
 * Return a colour in a form that a canvas understands: light-dark() works in style sheets only.
 *
 * @param {string} colour
 */
function canvasColour(colour) {
  const probe = document.createElement("span");
  probe.style.color = colour;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
