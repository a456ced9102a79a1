/**
 * Hear a call in a web page, and talk into it.
 *
 *     import { Spy } from "/static/spy.js";
 *     const spy = new Spy(answer.audio_url); // from POST /api/v1/calls/{id}/spies
 *     spy.addEventListener("state", ({ detail }) => console.log(detail.state, detail.mode));
 *     await spy.start(); // in a click: a browser stays silent before the first click
 *
 * The page must come by https or from localhost: elsewhere browsers have no AudioWorklet.
 *
 * Events, with their `detail`:
 *
 * - "state": {state, mode, call_id, cause}
 * - "connection": {connected}
 * - "gone": {replaced}: no connection is made any more, because another page plays the spy
 *   (`replaced`), the connection was lost for too long, or the spy has ended
 * - "microphone": {node} when the microphone is open, for example to show its level; {error} when the
 *   browser refuses it
 * - "levels", ten times a second with `new Spy(url, { levels: true })`: {agent, customer}, in dBFS
 *
 * Change the mode over HTTP (PATCH /api/v1/spies/{id}). The microphone is open in `whisper` and `barge`
 * only. A lost connection is opened again, to the same spy, for 30 seconds.
 */
import { SpyConnection } from "./spy-connection.js";
import { Microphone } from "./spy-microphone.js";

export class Spy extends EventTarget {
  #connection;
  #levels;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AudioWorkletNode | null} */
  #worklet = null;
  /** @type {Microphone | null} */
  #microphone = null;
  #mode = "listen";
  #isClosed = false;

  /**
   * @param {string} audioUrl
   * @param {{ levels?: boolean }} [options]
   */
  constructor(audioUrl, { levels = false } = {}) {
    super();
    this.#levels = levels;
    this.#connection = new SpyConnection(audioUrl, {
      opened: () => {
        if (this.#levels) this.#connection.send({ type: "levels" });
        this.#acknowledgeMode();
        this.#emit("connection", { connected: true });
      },
      sound: (frame) => this.#worklet?.port.postMessage(frame, [frame]),
      message: (type, detail) => this.#receive(type, detail),
      broke: () => this.#emit("connection", { connected: false }),
      gone: ({ replaced }) => {
        this.close();
        this.#emit("gone", { replaced });
      },
    });
  }

  /** The node that sounds: connect it to an analyser to see a level. */
  get output() {
    return this.#worklet;
  }

  /** The audio context, which has the rate of the sound card. */
  get context() {
    return this.#context;
  }

  /** Connect, and open the audio meanwhile; return when the sound plays. */
  async start() {
    this.#connection.open();
    try {
      await this.#openAudio();
    } catch (error) {
      if (this.#isClosed) return;
      this.close();
      throw error;
    }
    this.#updateMicrophone();
  }

  async #openAudio() {
    const context = (this.#context = new AudioContext({ latencyHint: "interactive" }));
    const resumed = context.resume();
    await context.audioWorklet.addModule(new URL("spy-worklet.js", import.meta.url));
    const worklet = (this.#worklet = new AudioWorkletNode(context, "earwitness-spy", {
      outputChannelCount: [1],
    }));
    worklet.port.onmessage = ({ data }) => {
      if (this.#isTalking) this.#connection.sendFrame(data);
    };
    worklet.connect(context.destination);
    this.#microphone = new Microphone(worklet, {
      opened: (node) => this.#emit("microphone", { node }),
      refused: (error) => this.#emit("microphone", { error }),
    });
    await resumed;
  }

  /** Stop the sound. End the spy itself over HTTP (DELETE /api/v1/spies/{id}). */
  async close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
    this.#microphone?.use(false);
    await this.#context?.close();
  }

  /**
   * @param {string} type
   * @param {Record<string, any>} detail
   */
  #receive(type, detail) {
    if (type === "levels") this.#emit(type, detail);
    if (type !== "state") return;
    this.#mode = detail.mode;
    this.#acknowledgeMode();
    this.#emit(type, detail);
    this.#updateMicrophone();
  }

  /** Tell the server for which mode the next frames are meant. */
  #acknowledgeMode() {
    this.#connection.send({ type: "mode", mode: this.#mode });
  }

  get #isTalking() {
    return this.#mode !== "listen" && !this.#isClosed;
  }

  #updateMicrophone() {
    this.#microphone?.use(this.#isTalking);
  }

  /**
   * @param {string} type
   * @param {Record<string, any>} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
