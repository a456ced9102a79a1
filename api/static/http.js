/** The API, asked as who is signed in; what it refuses is an Error that says why, with `problem`. */
export function ask(method, path, body) {
  return send(method, `/api/v1${path}`, body);
}

/** As `ask`, of any path of ours. */
export async function send(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: {
      Accept: "application/json",
      "X-CSRF-Token": document.querySelector("meta[name=csrf]").content,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const text = await response.text();
  const answer = text && response.headers.get("Content-Type").includes("json") ? JSON.parse(text) : null;
  if (!response.ok) {
    const faults = answer?.errors?.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`).join("; ");
    const told = faults || answer?.detail || answer?.title || response.statusText;
    throw Object.assign(new Error(told), { problem: answer });
  }
  return answer;
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
