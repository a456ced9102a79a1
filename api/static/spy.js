/**
 * Hear a call in a web page, and talk into it.
 *
 *     import { Spy } from "/static/spy.js";
 *     const spy = new Spy(answer.audio_url); // of POST /api/v1/calls/{id}/spies
 *     spy.addEventListener("state", ({ detail }) => console.log(detail.state, detail.mode));
 *     await spy.start(); // in a click: browsers keep silent before one
 *
 * It needs a page that came by https, or from localhost: elsewhere browsers have no AudioWorklet.
 *
 * `detail` of "state" is {state, mode, call_id, cause}; of "connection" {connected}; of "gone"
 * {replaced}, once no connection is made any more: the spy is heard in another page, or was lost
 * for too long, or has ended; of "microphone"
 * {node} when it is open, to see its level, and {error} when the browser gives none; of "levels", ten
 * times a second with `new Spy(url, { levels: true })`, {agent, customer}: how loud each is, in dBFS.
 * The mode is changed over HTTP (PATCH /api/v1/spies/{id}); the microphone is opened, and sent, in
 * `whisper` and `barge` alone. A connection that is lost is made again, to the same spy, for 30 seconds.
 */
const RECONNECT_WITHIN_MS = 30000;
const RECONNECT_AFTER_MS = [100, 250, 500, 1000, 2000];
const SILENT_MS = 15000; // a server that says it is alive does so every few seconds
const ENDED = 1000;
const REPLACED = 4000; // it was opened in another page
const BEHIND_BYTES = 6400; // what is said while so much waits to be sent would come too late
const MICROPHONE = {
  audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

export class Spy extends EventTarget {
  #url;
  #socket = null;
  #context = null;
  #worklet = null;
  #stream = null;
  #source = null;
  #mode = "listen";
  #closed = false;
  #lostAt = null;
  #attempt = 0;
  #heardAt = 0;
  #isTold = false; // by this connection, that it is alive
  #watch = null;
  #levels;

  constructor(audioUrl, { levels = false } = {}) {
    super();
    this.#url = audioUrl;
    this.#levels = levels;
  }

  /** The node that sounds: connect it to an analyser to see a level. */
  get output() {
    return this.#worklet;
  }

  /** The audio context, which has the rate of the sound card. */
  get context() {
    return this.#context;
  }

  /** Connect, and open the audio meanwhile; resolves when what comes is heard. */
  async start() {
    this.#connect();
    try {
      await this.#open();
    } catch (error) {
      if (this.#closed) return;
      this.close();
      throw error;
    }
    this.#mindMicrophone();
  }

  async #open() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    const resumed = this.#context.resume();
    await this.#context.audioWorklet.addModule(new URL("spy-worklet.js", import.meta.url));
    this.#worklet = new AudioWorkletNode(this.#context, "earwitness-spy", {
      outputChannelCount: [1],
    });
    this.#worklet.port.onmessage = ({ data }) => this.#fromWorklet(data);
    this.#worklet.connect(this.#context.destination);
    await resumed;
  }

  /** Stop hearing. The spy itself is ended over HTTP (DELETE /api/v1/spies/{id}). */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watch);
    this.#socket?.close(1000);
    this.#dropMicrophone();
    await this.#context?.close();
  }

  #connect() {
    if (this.#closed) return;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code }) => this.#lost(code);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#isTold = false;
    this.#watch ??= setInterval(() => this.#mindConnection(), 1000);
  }

  /** After a sleep, or where the server has stalled, no browser says that nothing comes. */
  #mindConnection() {
    const socket = this.#socket;
    const isDue = this.#isTold || socket.readyState === WebSocket.CONNECTING;
    if (!isDue || performance.now() - this.#heardAt < SILENT_MS) return;
    socket.onopen = socket.onmessage = socket.onclose = null; // it may take minutes to close
    socket.close();
    this.#isTold = false;
    this.#lost();
  }

  #opened() {
    this.#lostAt = null;
    this.#attempt = 0;
    if (this.#levels) this.#socket.send(JSON.stringify({ type: "levels" }));
    this.#answer();
    this.#tell("connection", { connected: true });
  }

  #received(data) {
    this.#heardAt = performance.now();
    if (typeof data !== "string") {
      this.#worklet?.port.postMessage(data, [data]);
      return;
    }
    const { type, ...told } = JSON.parse(data);
    if (type === "alive") this.#isTold = true;
    if (type === "levels") this.#tell(type, told);
    if (type !== "state") return;
    this.#mode = told.mode;
    this.#answer();
    this.#tell(type, told);
    this.#mindMicrophone();
  }

  /** For which mode the frames are meant that are sent from now on. */
  #answer() {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify({ type: "mode", mode: this.#mode }));
  }

  #lost(code) {
    this.#tell("connection", { connected: false });
    if (this.#closed) return;
    this.#lostAt ??= performance.now();
    const late = performance.now() - this.#lostAt > RECONNECT_WITHIN_MS;
    if (late || code === ENDED || code === REPLACED) {
      this.close();
      this.#tell("gone", { replaced: code === REPLACED });
      return;
    }
    const waits = RECONNECT_AFTER_MS;
    setTimeout(() => this.#connect(), waits[Math.min(this.#attempt, waits.length - 1)]);
    this.#attempt += 1;
  }

  #fromWorklet(data) {
    if (!this.#talks || this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount <= BEHIND_BYTES) this.#socket.send(data);
  }

  // The microphone

  get #talks() {
    return this.#mode !== "listen" && !this.#closed;
  }

  /** Open it where the mode has use for it, give it back where it has none. */
  async #mindMicrophone() {
    if (!this.#talks) {
      this.#dropMicrophone();
      return;
    }
    if (this.#stream !== null || this.#worklet === null) return;
    try {
      this.#stream = "asked";
      const stream = await navigator.mediaDevices.getUserMedia(MICROPHONE);
      this.#stream = stream;
      if (!this.#talks) {
        this.#dropMicrophone();
        return;
      }
      this.#source = this.#context.createMediaStreamSource(stream);
      this.#source.connect(this.#worklet);
      for (const track of stream.getTracks()) track.onended = () => this.#lostMicrophone(stream);
      this.#tell("microphone", { node: this.#source });
    } catch (error) {
      this.#dropMicrophone();
      this.#stream = null;
      this.#tell("microphone", { error: error.name });
    }
  }

  /** A headset was unplugged, say: what the browser has instead is told as the first was. */
  #lostMicrophone(stream) {
    if (stream !== this.#stream) return;
    this.#dropMicrophone();
    this.#mindMicrophone();
  }

  #dropMicrophone() {
    if (!(this.#stream instanceof MediaStream)) return;
    this.#source?.disconnect();
    for (const track of this.#stream.getTracks()) track.stop();
    this.#source = null;
    this.#stream = null;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
