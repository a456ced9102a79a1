/** Stand-ins for the parts of a browser that modules without a page use. */

/** A stream of events that the test opens, feeds and breaks. */
export class FakeEventSource {
  static CLOSED = 2;
  /** @type {FakeEventSource[]} */
  static all = [];

  readyState = 0;
  /** @type {(() => void) | undefined} */
  onopen;
  /** @type {(() => void) | undefined} */
  onerror;
  /** @type {Map<string, (event: { data: string }) => void>} */
  #listeners = new Map();

  constructor() {
    FakeEventSource.all.push(this);
  }

  static get last() {
    const found = FakeEventSource.all.at(-1);
    if (!found) throw new Error("no stream was opened");
    return found;
  }

  /** @param {string} type @param {(event: { data: string }) => void} listener */
  addEventListener(type, listener) {
    this.#listeners.set(type, listener);
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  /** @param {string} type @param {unknown} [data] */
  send(type, data = {}) {
    this.#listeners.get(type)?.({ data: JSON.stringify({ type, data }) });
  }

  /** @param {{ forGood: boolean }} how */
  fail({ forGood }) {
    this.readyState = forGood ? FakeEventSource.CLOSED : 0;
    this.onerror?.();
  }

  close() {
    this.readyState = FakeEventSource.CLOSED;
  }
}

/** A WebSocket whose server is the test. */
export class FakeWebSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  /** @type {FakeWebSocket[]} */
  static all = [];

  readyState = FakeWebSocket.CONNECTING;
  bufferedAmount = 0;
  /** @type {unknown[]} */
  sent = [];
  /** @type {number | undefined} */
  closedWith;
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: { data: unknown }) => void) | null} */
  onmessage = null;
  /** @type {((event: { code: number }) => void) | null} */
  onclose = null;

  constructor() {
    FakeWebSocket.all.push(this);
  }

  static get last() {
    const found = FakeWebSocket.all.at(-1);
    if (!found) throw new Error("no connection was opened");
    return found;
  }

  open() {
    this.readyState = FakeWebSocket.OPEN;
    this.onopen?.();
  }

  /** @param {number} code */
  break(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  /** @param {unknown} data */
  send(data) {
    this.sent.push(data);
  }

  /** @param {number} [code] */
  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }
}

/** Put the fakes in the place of the browser's classes. */
export function installFakes() {
  FakeEventSource.all = [];
  FakeWebSocket.all = [];
  Object.assign(globalThis, { EventSource: FakeEventSource, WebSocket: FakeWebSocket });
}

/** Let promises that are already settled run on. */
export async function settle() {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
}
