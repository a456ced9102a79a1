/** Requests to the service, in the name of the person who has signed in. */
import { getElement } from "./dom.js";
import { wordsFor } from "./words.js";

/** An answer that is not a success. Its message is written for a person. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {Api.Problem | null} problem
   */
  constructor(message, problem) {
    super(message);
    this.problem = problem;
  }
}

/**
 * Send a request to the API and return its JSON answer, or null if the answer has none.
 *
 * Throw a `Refusal` if the service refuses, and an `Error` if it does not answer.
 *
 * Example: `await callApi("PATCH", "/spies/1", { mode: "barge" })`
 *
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {unknown} [body]
 * @param {RequestInit & { headers?: Record<string, string> }} [options] such as `keepalive`, for a request
 *   that outlives its page
 * @returns {Promise<any>}
 */
export function callApi(method, path, body, options) {
  return send(method, `/api/v1${path}`, body, options);
}

/**
 * Send a request like `callApi`, to any path of the service.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {RequestInit & { headers?: Record<string, string> }} [options]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, options = {}) {
  const isFile = body instanceof Blob; // sent as it is
  const sent = fetch(path, {
    ...options,
    method,
    headers: {
      Accept: "application/json",
      "X-CSRF-Token": getElement(document, "meta[name=csrf]", HTMLMetaElement).content,
      ...(body === undefined ? {} : { "Content-Type": isFile ? body.type : "application/json" }),
      ...options.headers,
    },
    body: isFile || body === undefined ? body : JSON.stringify(body),
  });
  const response = await sent.catch((cause) => {
    throw new Error(document.body.dataset.failed, { cause });
  });
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const text = await response.text();
  const isJson = response.headers.get("Content-Type")?.includes("json");
  const answer = text && isJson ? JSON.parse(text) : null;
  if (!response.ok) throw new Refusal(describeProblem(answer), answer);
  return answer;
}

/**
 * Return the text of a problem for a person.
 *
 * @param {Api.Problem | null} problem
 */
function describeProblem(problem) {
  const faults = problem?.errors?.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`);
  return (
    faults?.join("; ") ||
    wordsFor("problem", problem?.error_id) ||
    problem?.detail ||
    problem?.title ||
    document.body.dataset.failed ||
    ""
  );
}

/**
 * Return all items of a list of the API; request one slice after the other.
 *
 * @param {string} path
 * @returns {Promise<any[]>}
 */
export async function listAll(path) {
  const items = [];
  let cursor = null;
  do {
    const mark = path.includes("?") ? "&" : "?";
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    /** @type {{ items: unknown[], next_cursor: string | null }} */
    const slice = await callApi("GET", `${path}${mark}limit=200${more}`);
    items.push(...slice.items);
    cursor = slice.next_cursor;
  } while (cursor);
  return items;
}
