/** The stream of events, followed for as long as it is wanted. */
import { ask } from "./http.js";

export const COMES_BACK_AFTER_MS = 5000;

/**
 * Opens the stream, and opens it anew whatever ends it, until the `close` that comes back is called.
 *
 * `take` gets every event of the `types`. `began` is called each time that the stream is there: with
 * true where something may have been missed, and what is shown is to be read anew. `broke` is called
 * when it is away.
 */
export function follow(types, { take, began, broke = () => {} }) {
  let source = null;
  let retry = null;
  let closed = false;

  function open() {
    let anew = true;
    source = new EventSource("/api/v1/events");
    source.onopen = () => {
      began(anew);
      anew = false;
    };
    source.onerror = broken;
    source.addEventListener("events.lost", () => began(true));
    for (const type of types) source.addEventListener(type, ({ data }) => take(JSON.parse(data)));
  }

  /** The browser comes back by itself, but not after an answer that is no stream. */
  function broken() {
    broke();
    if (source.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(async () => {
      await ask("GET", "/calls?limit=1").catch(() => null); // leads to the form where that is why
      if (!closed) open();
    }, COMES_BACK_AFTER_MS);
  }

  function close() {
    closed = true;
    source.close();
    clearTimeout(retry);
  }

  open();
  return { close };
}
