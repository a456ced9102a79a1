/**
 * A recording, heard: the waveform is drawn from what the service measured, so a long recording
 * begins at once; the audio comes in ranges, as it is played.
 */
import WaveSurfer from "/static/vendor/wavesurfer.js";
import { send } from "./http.js";
import { tellFault, whenGone } from "./page.js";
import { duration } from "./times.js";

const STEP_S = 5;
// Shorter silences are speech.
const SILENCE_S = 1.0;
const LEFT_IN_S = 0.2;

export async function mount(root) {
  const audio = root.querySelector("audio");
  const player = new Player(root, audio);
  try {
    const measured = await send("GET", root.dataset.waveform);
    if (root.isConnected) player.draw(measured);
  } catch (error) {
    tellFault(root, error.message);
  }
}

/** Go to a time, in seconds; where nothing is loaded yet the element itself would tell nobody. */
export function go(audio, at) {
  audio.currentTime = Math.max(0, at);
  audio.dispatchEvent(new Event("timeupdate"));
}

/** The Latin letter of a key, also where the layout has others, or capitals. */
export function letterOf({ key, code }) {
  return /^[a-z]$/i.test(key) ? key.toLowerCase() : code.replace(/^Key/, "").toLowerCase();
}

class Player {
  #root;
  #audio;
  #length;
  #silences = [];
  #context = null;
  #gains = null;
  #skips = false;

  constructor(root, audio) {
    this.#root = root;
    this.#audio = audio;
    this.#length = Number(root.dataset.length);
    const part = (selector) => root.querySelector(selector);
    part("[data-play]").onclick = () => this.#toggle();
    part("[data-skip]").onclick = () => this.#skipSilence();
    part("#speed").onchange = ({ target }) => (audio.playbackRate = Number(target.value));
    part("#seek").oninput = ({ target }) => go(audio, Number(target.value));
    if (part("#solo")) part("#solo").onchange = ({ target }) => this.#solo(target.value);
    for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, () => this.#told());
    audio.addEventListener("timeupdate", () => this.#moved());
    audio.addEventListener("error", () => tellFault(root, root.dataset.failed));
    const pressed = (event) => this.#pressed(event);
    document.addEventListener("keydown", pressed);
    whenGone(root, () => {
      audio.pause();
      this.#context?.close();
      document.removeEventListener("keydown", pressed);
    });
  }

  /** What was measured: peaks from 0 to 255, spans of talk and silence, a list for each side; and
   * what is not in it. */
  draw({ peaks, talk, silence }) {
    const wave = WaveSurfer.create({
      container: this.#root.querySelector("#wave"),
      height: 72,
      barWidth: 2,
      barGap: 1,
      ...coloursOf(peaks.length),
      media: this.#audio,
      peaks: peaks.map((side) => side.map((peak) => peak / 255)),
      duration: this.#length,
      cspNonce: document.querySelector("meta[name=nonce]").content,
    });
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const paint = () => wave.setOptions(coloursOf(peaks.length));
    scheme.addEventListener("change", paint);
    whenGone(this.#root, () => {
      scheme.removeEventListener("change", paint);
      wave.destroy();
    });
    talk.forEach((spans, side) => {
      const name = talk.length > 1 && side ? "talk-right" : "talk-left";
      for (const span of spans) this.#mark(span, name);
    });
    const missing = JSON.parse(this.#root.querySelector("[data-missing]").textContent);
    for (const [name, spans] of Object.entries(missing)) {
      for (const { from_s, to_s } of spans) this.#mark([from_s, to_s ?? from_s], name);
    }
    this.#silences = common(silence).filter(([from, to]) => to - from > SILENCE_S);
  }

  #mark([from, to], name) {
    const mark = document.createElement("i");
    mark.className = name;
    mark.style.left = `${(100 * from) / this.#length}%`;
    mark.style.width = `${(100 * (to - from)) / this.#length}%`;
    this.#root.querySelector("[data-spans]").append(mark);
  }

  #toggle() {
    if (this.#audio.paused) this.#audio.play().catch(() => null); // its `error` tells what fails
    else this.#audio.pause();
  }

  #told() {
    const now = this.#audio.paused ? "paused" : "playing";
    for (const face of this.#root.querySelectorAll("[data-play] [data-when]")) {
      face.hidden = face.dataset.when !== now;
    }
  }

  #moved() {
    const now = this.#audio.currentTime;
    const seek = this.#root.querySelector("#seek");
    seek.value = now;
    seek.setAttribute("aria-valuetext", duration(now));
    this.#root.querySelector("[data-now]").textContent = duration(now);
    if (!this.#skips || this.#audio.paused) return;
    const silence = this.#silences.find(([from, to]) => now >= from && now < to - LEFT_IN_S);
    if (silence) this.#audio.currentTime = silence[1] - LEFT_IN_S;
  }

  #skipSilence() {
    this.#skips = !this.#skips;
    this.#root.querySelector("[data-skip]").setAttribute("aria-pressed", String(this.#skips));
  }

  /** One side, in both ears; an empty text is both sides. */
  #solo(side) {
    this.#gains ??= this.#split();
    this.#gains.forEach((gain, n) => {
      gain.gain.value = side === "" || Number(side) === n ? 1 : 0;
    });
  }

  #split() {
    const context = (this.#context = new AudioContext());
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    new MediaElementAudioSourceNode(context, { mediaElement: this.#audio }).connect(splitter);
    return [0, 1].map((side) => {
      const gain = new GainNode(context);
      splitter.connect(gain, side);
      gain.connect(context.destination);
      return gain;
    });
  }

  #pressed(event) {
    const typing = event.target.closest("input:not([type=range]), select, textarea, button, summary, a");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -STEP_S, ArrowRight: STEP_S };
    if (event.key === " ") this.#toggle();
    else if (letterOf(event) === "s") this.#skipSilence();
    else if (event.key in steps) go(this.#audio, this.#audio.currentTime + steps[event.key]);
    else return;
    event.preventDefault();
  }
}

/** Where all sides are silent. */
function common([first = [], ...others]) {
  return others.reduce(
    (left, right) =>
      left.flatMap(([from, to]) =>
        right
          .map(([f, t]) => [Math.max(from, f), Math.min(to, t)])
          .filter(([f, t]) => f < t),
      ),
    first,
  );
}

/** What so many sides are drawn in, light or dark. */
function coloursOf(sides) {
  const colours = getComputedStyle(document.documentElement);
  const named = (name) => resolve(colours.getPropertyValue(name));
  const [text, quiet, ...waves] = ["--text", "--quiet", "--customer", "--agent"].map(named);
  const split = waves.slice(0, sides).map((waveColor) => ({ waveColor, progressColor: quiet }));
  return { cursorColor: text, splitChannels: split };
}

/** A colour as a canvas knows it: light-dark() is for style sheets alone. */
function resolve(colour) {
  const probe = document.createElement("span");
  probe.style.color = colour;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
