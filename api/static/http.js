import { wordsFor } from "./words.js";

/** The API, asked as who is signed in; what it refuses is an Error that says why, with `problem`. */
export function ask(method, path, body) {
  return send(method, `/api/v1${path}`, body);
}

/** As `ask`, of any path of ours. */
export async function send(method, path, body) {
  const asked = fetch(path, {
    method,
    headers: {
      Accept: "application/json",
      "X-CSRF-Token": document.querySelector("meta[name=csrf]").content,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const response = await asked.catch((cause) => {
    throw new Error(document.body.dataset.failed, { cause });
  });
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const text = await response.text();
  const isJson = response.headers.get("Content-Type")?.includes("json");
  const answer = text && isJson ? JSON.parse(text) : null;
  if (!response.ok) throw Object.assign(new Error(toldOf(answer)), { problem: answer });
  return answer;
}

/** What a problem says, to a person. */
function toldOf(problem) {
  const faults = problem?.errors?.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`);
  return (
    faults?.join("; ") ||
    wordsFor("problem", problem?.error_id) ||
    problem?.detail ||
    problem?.title ||
    document.body.dataset.failed
  );
}

/** Every item of a list, page by page. */
export async function askAll(path) {
  const items = [];
  let cursor = null;
  do {
    const mark = path.includes("?") ? "&" : "?";
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await ask("GET", `${path}${mark}limit=200${more}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}
