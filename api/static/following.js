/** The stream of events, kept open until the page no longer needs it. */
import { getElement } from "./dom.js";
import { callApi } from "./http.js";

export const RETRY_AFTER_MS = 5000;

/**
 * Open the stream, and open it again whenever it ends. Call `close` of the result to stop.
 *
 * Example: `const stream = follow(["call.up"], { receive: console.log, opened: () => {} })`
 *
 * @param {string[]} types
 * @param {object} handlers
 * @param {(event: any) => void} handlers.receive called with each event of the types
 * @param {(mayHaveGap: boolean) => void} handlers.opened called each time the stream opens; with true
 *   if events may have been lost, so the page must read its lists again
 * @param {() => void} [handlers.broke] called when the stream breaks
 */
export function follow(types, { receive, opened, broke = () => {} }) {
  /** @type {EventSource} */
  let source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retry;
  let isClosed = false;

  function open() {
    let isNew = true;
    source = new EventSource("/api/v1/events");
    source.onopen = () => {
      opened(isNew);
      isNew = false;
    };
    source.onerror = broken;
    source.addEventListener("events.lost", () => opened(true));
    for (const type of types) source.addEventListener(type, ({ data }) => receive(JSON.parse(data)));
  }

  /** Open a new stream if the browser has given up: it does so after an answer that is no stream. */
  function broken() {
    broke();
    if (source.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(async () => {
      await callApi("GET", "/calls?limit=1").catch(() => null); // shows the sign-in form after a 401
      if (!isClosed) open();
    }, RETRY_AFTER_MS);
  }

  function close() {
    isClosed = true;
    source.close();
    clearTimeout(retry);
  }

  open();
  return { close };
}

/**
 * Keep a stream open while the tab is seen: a browser opens at most six connections to a host.
 *
 * Example: `const stream = whileSeen(() => follow(["call.up"], handlers))`
 *
 * @param {() => { close(): void }} open
 * @returns {{ close(): void }}
 */
export function whileSeen(open) {
  /** @type {{ close(): void } | null} */
  let stream = null;
  const look = () => {
    stream?.close();
    stream = document.hidden ? null : open();
  };
  document.addEventListener("visibilitychange", look);
  look();
  return {
    close() {
      document.removeEventListener("visibilitychange", look);
      stream?.close();
    },
  };
}

/**
 * Show on a page whether its stream is open.
 *
 * @param {HTMLElement} root
 * @param {boolean} isConnected
 */
export function showConnection(root, isConnected) {
  getElement(root, "[data-connected]").hidden = !isConnected;
  getElement(root, "[data-lost]").hidden = isConnected;
}
