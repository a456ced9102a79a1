/** The WebSocket of a spy, which is opened again when it breaks. */

const RECONNECT_WITHIN_MS = 30000;
const RECONNECT_AFTER_MS = [100, 250, 500, 1000, 2000];
const SILENT_MS = 15000; // a server that sends "alive" does so every few seconds
const CLOSED = 1000;
const ENDED = 1000;
const REPLACED = 4000; // another page plays the spy now
const REFUSED = [1007, 1009]; // the server understood nothing, so another attempt ends the same way
const BEHIND_BYTES = 6400; // with so much unsent, a frame would arrive too late to be of use

/**
 * Decide what to do about a broken connection: wait so many milliseconds, or give up (null).
 *
 * @param {number | undefined} code the close code, if there is one
 * @param {number} lostMs how long the connection has been lost
 * @param {number} attempt how many attempts have failed since
 */
export function reconnectAfterMs(code, lostMs, attempt) {
  const isFinal = code !== undefined && [ENDED, REPLACED, ...REFUSED].includes(code);
  if (isFinal || lostMs > RECONNECT_WITHIN_MS) return null;
  return RECONNECT_AFTER_MS[Math.min(attempt, RECONNECT_AFTER_MS.length - 1)];
}

/**
 * @typedef {object} Handlers
 * @property {() => void} opened called each time the connection opens
 * @property {(frame: ArrayBuffer) => void} sound called with each frame of sound
 * @property {(type: string, detail: Record<string, any>) => void} message
 * @property {() => void} broke called each time the connection breaks or an attempt fails
 * @property {(why: { replaced: boolean }) => void} gone called when the connection is given up
 */

export class SpyConnection {
  #url;
  #handlers;
  /** @type {WebSocket | null} */
  #socket = null;
  #isClosed = false;
  /** @type {number | null} */
  #lostAt = null;
  #attempt = 0;
  #heardAt = 0;
  #sendsAlive = false; // whether this server sends "alive"
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;

  /**
   * @param {string} url
   * @param {Handlers} handlers
   */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
  }

  open() {
    if (this.#isClosed) return;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#lostAt = null;
      this.#attempt = 0;
      this.#handlers.opened();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#broke(code);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#sendsAlive = false;
    this.#watch ??= setInterval(() => this.#checkAlive(), 1000);
  }

  close() {
    this.#isClosed = true;
    clearInterval(this.#watch);
    this.#socket?.close(CLOSED);
  }

  /**
   * Send a message, if the connection is open.
   *
   * @param {Record<string, unknown>} message
   */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /**
   * Send a frame of sound, or drop it if too much waits to be sent.
   *
   * @param {ArrayBuffer} frame
   */
  sendFrame(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount <= BEHIND_BYTES) this.#socket.send(frame);
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heardAt = performance.now();
    if (typeof data !== "string") {
      this.#handlers.sound(data);
      return;
    }
    const { type, ...detail } = JSON.parse(data);
    if (type === "alive") this.#sendsAlive = true;
    else this.#handlers.message(type, detail);
  }

  /** Give up a silent connection: after a sleep, or if the server stalls, the browser notices nothing. */
  #checkAlive() {
    const socket = this.#socket;
    if (!socket) return;
    const isDue = this.#sendsAlive || socket.readyState === WebSocket.CONNECTING;
    if (!isDue || performance.now() - this.#heardAt < SILENT_MS) return;
    socket.onopen = socket.onmessage = socket.onclose = null; // it may take minutes to close
    socket.close();
    this.#sendsAlive = false;
    this.#broke(undefined);
  }

  /** @param {number | undefined} code */
  #broke(code) {
    this.#handlers.broke();
    if (this.#isClosed) return;
    this.#lostAt ??= performance.now();
    const waitMs = reconnectAfterMs(code, performance.now() - this.#lostAt, this.#attempt);
    if (waitMs === null) {
      this.close();
      this.#handlers.gone({ replaced: code === REPLACED });
      return;
    }
    setTimeout(() => this.open(), waitMs);
    this.#attempt += 1;
  }
}
