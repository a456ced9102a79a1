import assert from "node:assert/strict";
import { beforeEach, describe, mock, test } from "node:test";

import { follow } from "../../api/static/following.js";
import { Refusal, callApi, listAll } from "../../api/static/http.js";
import { wordsFor } from "../../api/static/words.js";
import { FakeEventSource, installFakes, settle } from "./fakes.js";

class FakeElement {
  content = "secret";
  textContent = JSON.stringify({ problem: { "call-ended": "The call has ended." }, ended: {} });
}

/** @type {{ path: string, method?: string, headers: any, body?: any }[]} */
let requests;
/** @type {(() => Promise<Response>)[]} the next answers */
let answers;
/** @type {string[]} */
let visited;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  installFakes();
  [requests, answers, visited] = [[], [], []];
  Object.assign(globalThis, {
    HTMLElement: FakeElement,
    HTMLMetaElement: FakeElement,
    document: {
      querySelector: () => new FakeElement(),
      body: { dataset: { failed: "The service did not answer." } },
    },
    location: { pathname: "/library", search: "?tag=a", assign: (/** @type {string} */ to) => visited.push(to) },
    fetch: async (/** @type {string} */ path, /** @type {any} */ request) => {
      requests.push({ path, ...request });
      return (answers.shift() ?? (() => json(200, null)))();
    },
  });
});

/** @param {number} status @param {unknown} body */
async function json(status, body) {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
}

describe("a request", () => {
  test("carries its body as JSON and the token against forgery", async () => {
    answers.push(() => json(201, { id: "1" }));
    assert.deepEqual(await callApi("POST", "/spies", { mode: "listen" }), { id: "1" });
    const [{ path, method, headers, body }] = requests;
    assert.deepEqual([path, method, body], ["/api/v1/spies", "POST", '{"mode":"listen"}']);
    assert.deepEqual([headers["X-CSRF-Token"], headers["Content-Type"]], ["secret", "application/json"]);
  });

  test("without a body says nothing of its type, and an empty answer is null", async () => {
    answers.push(async () => new Response(null, { status: 204 }));
    assert.equal(await callApi("DELETE", "/spies/1"), null);
    assert.deepEqual([requests[0].body, "Content-Type" in requests[0].headers], [undefined, false]);
  });

  /** @param {() => Promise<Response>} respond */
  const refusal = async (respond) => {
    answers.push(respond);
    const error = await callApi("GET", "/calls").then(assert.fail, (cause) => cause);
    assert.ok(error instanceof Refusal);
    return error;
  };

  test("that is refused throws the page's words, with the problem", async () => {
    const problem = { error_id: "call-ended", detail: "call main-1 has ended", title: "Ended" };
    const error = await refusal(() => json(409, problem));
    assert.deepEqual([error.message, error.problem], ["The call has ended.", problem]);
  });

  test("that is refused for a cause without words shows the service's own", async () => {
    assert.equal((await refusal(() => json(409, { error_id: "new", detail: "d", title: "t" }))).message, "d");
    assert.equal((await refusal(() => json(409, { error_id: "new", title: "t" }))).message, "t");
    const errors = [{ loc: ["body", "spans", 0], msg: "too long" }, { loc: ["query", "q"], msg: "empty" }];
    assert.equal((await refusal(() => json(422, { errors }))).message, "spans.0: too long; q: empty");
  });

  test("that a proxy refuses says that the service did not answer", async () => {
    const error = await refusal(async () => new Response("<h1>Bad gateway</h1>", { status: 502 }));
    assert.deepEqual([error.message, error.problem], ["The service did not answer.", null]);
  });

  test("that nobody answers throws, with its cause", async () => {
    answers.push(() => Promise.reject(new TypeError("network")));
    const error = await callApi("GET", "/calls").then(assert.fail, (cause) => cause);
    assert.equal(error.message, "The service did not answer.");
    assert.equal(error.cause.message, "network");
  });

  test("of an ended session leads to the form, and back to the page", async () => {
    await refusal(() => json(401, {}));
    assert.deepEqual(visited, ["/sign-in?next=%2Flibrary%3Ftag%3Da"]);
  });
});

test("a list is read slice by slice", async () => {
  answers.push(() => json(200, { items: [1, 2], next_cursor: "a b" }));
  answers.push(() => json(200, { items: [3], next_cursor: null }));
  assert.deepEqual(await listAll("/recordings?state=paused"), [1, 2, 3]);
  assert.deepEqual(requests.map(({ path }) => path), [
    "/api/v1/recordings?state=paused&limit=200",
    "/api/v1/recordings?state=paused&limit=200&cursor=a%20b",
  ]);
  answers.push(() => json(200, { items: [], next_cursor: null }));
  await listAll("/calls");
  assert.equal(requests[2].path, "/api/v1/calls?limit=200");
});

test("a name without words has none", () => {
  assert.equal(wordsFor("problem", "call-ended"), "The call has ended.");
  assert.equal(wordsFor("problem", "other"), "");
  assert.equal(wordsFor("problem", null), "");
});

describe("a stream that the browser gives up", () => {
  /** @type {string[]} */
  let said;
  /** @type {{ close(): void }} */
  let stream;

  beforeEach(() => {
    said = [];
    stream = follow(["call.up"], {
      receive: ({ data }) => said.push(data.id),
      opened: (mayHaveGap) => said.push(mayHaveGap ? "new" : "again"),
      broke: () => said.push("broke"),
    });
    FakeEventSource.last.open();
  });

  test("is opened again after five seconds, once the service answers", async () => {
    FakeEventSource.last.fail({ forGood: true });
    mock.timers.tick(4999);
    assert.equal(requests.length, 0);
    mock.timers.tick(1);
    await settle();
    assert.equal(requests[0].path, "/api/v1/calls?limit=1");
    assert.equal(FakeEventSource.all.length, 2);
    FakeEventSource.last.open();
    FakeEventSource.last.send("call.up", { id: "main-1" });
    assert.deepEqual(said, ["new", "broke", "new", "main-1"]);
  });

  test("is left to the browser while the browser tries", async () => {
    FakeEventSource.last.fail({ forGood: false });
    mock.timers.tick(60000);
    await settle();
    FakeEventSource.last.open();
    assert.deepEqual([said, FakeEventSource.all.length, requests.length], [["new", "broke", "again"], 1, 0]);
  });

  test("is not opened again if it was closed during the request", async () => {
    FakeEventSource.last.fail({ forGood: true });
    mock.timers.tick(5000);
    stream.close();
    await settle();
    assert.equal(FakeEventSource.all.length, 1);
  });

  test("asks nothing after it was closed", async () => {
    FakeEventSource.last.fail({ forGood: true });
    stream.close();
    mock.timers.tick(60000);
    await settle();
    assert.deepEqual([requests.length, FakeEventSource.all.length], [0, 1]);
  });
});
