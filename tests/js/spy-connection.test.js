import assert from "node:assert/strict";
import { beforeEach, describe, mock, test } from "node:test";

import { SpyConnection, reconnectAfterMs } from "../../api/static/spy-connection.js";
import { FakeWebSocket, installFakes } from "./fakes.js";

/** @type {unknown[]} what the connection said, in order */
let said;
/** @type {SpyConnection} */
let connection;
let now = 0;

/** Let time pass, for the timers and for the clock. @param {number} ms */
function pass(ms) {
  for (let left = ms; left > 0; left -= 100) {
    now += Math.min(left, 100);
    mock.timers.tick(Math.min(left, 100));
  }
}

beforeEach(() => {
  mock.timers.reset();
  mock.restoreAll();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  now = 0;
  mock.method(performance, "now", () => now);
  installFakes();
  said = [];
  connection = new SpyConnection("ws://x", {
    opened: () => said.push("opened"),
    sound: (frame) => said.push(frame),
    message: (type, detail) => said.push([type, detail]),
    broke: () => said.push("broke"),
    gone: ({ replaced }) => said.push(replaced ? "replaced" : "gone"),
  });
  connection.open();
});

test("the first attempts come quickly, later ones every two seconds", () => {
  const waits = [0, 1, 2, 3, 4, 5, 99].map((attempt) => reconnectAfterMs(1006, 0, attempt));
  assert.deepEqual(waits, [100, 250, 500, 1000, 2000, 2000, 2000]);
});

test("a connection is given up after 30 seconds, or when the server has ended it", () => {
  assert.equal(reconnectAfterMs(1006, 30000, 9), 2000);
  assert.equal(reconnectAfterMs(1006, 30001, 9), null);
  assert.equal(reconnectAfterMs(1000, 0, 0), null);
  assert.equal(reconnectAfterMs(4000, 0, 0), null);
  assert.equal(reconnectAfterMs(1007, 0, 0), null); // the server refused a message
  assert.equal(reconnectAfterMs(1009, 0, 0), null);
  assert.equal(reconnectAfterMs(undefined, 0, 0), 100);
});

describe("a connection", () => {
  test("hands on sound and messages, but keeps the sign of life to itself", () => {
    const socket = FakeWebSocket.last;
    socket.open();
    const frame = new ArrayBuffer(640);
    socket.onmessage?.({ data: frame });
    socket.onmessage?.({ data: '{"type":"state","mode":"barge"}' });
    socket.onmessage?.({ data: '{"type":"alive"}' });
    assert.deepEqual(said, ["opened", frame, ["state", { mode: "barge" }]]);
  });

  test("sends only while it is open, and drops frames that would come too late", () => {
    const socket = FakeWebSocket.last;
    connection.send({ type: "mode" });
    connection.sendFrame(new ArrayBuffer(640));
    assert.deepEqual(socket.sent, []);
    socket.open();
    connection.send({ type: "mode" });
    socket.bufferedAmount = 6400;
    connection.sendFrame(new ArrayBuffer(640));
    socket.bufferedAmount = 6401;
    connection.sendFrame(new ArrayBuffer(320));
    assert.deepEqual(socket.sent, ['{"type":"mode"}', new ArrayBuffer(640)]);
  });

  test("comes back after it broke, and counts its attempts from zero", () => {
    FakeWebSocket.last.open();
    FakeWebSocket.last.break(1006);
    pass(100);
    FakeWebSocket.last.break(1006);
    pass(200);
    assert.equal(FakeWebSocket.all.length, 2);
    pass(100);
    FakeWebSocket.last.open();
    FakeWebSocket.last.break(1006);
    pass(100);
    assert.equal(FakeWebSocket.all.length, 4);
    assert.deepEqual(said, ["opened", "broke", "broke", "opened", "broke"]);
  });

  test("is gone half a minute after it broke, once and for all", () => {
    FakeWebSocket.last.open();
    pass(20000);
    FakeWebSocket.last.break(1006);
    while (!said.includes("gone") && now < 90000) {
      pass(100);
      if (FakeWebSocket.last.readyState === FakeWebSocket.CONNECTING) FakeWebSocket.last.break(1006);
    }
    assert.ok(now > 50000 && now < 53000, `${now}`);
    const count = FakeWebSocket.all.length;
    pass(60000);
    assert.equal(FakeWebSocket.all.length, count);
    assert.equal(said.filter((word) => word === "gone").length, 1);
  });

  test("is gone at once when another page plays the spy, or the spy has ended", () => {
    FakeWebSocket.last.open();
    FakeWebSocket.last.break(4000);
    assert.deepEqual(said, ["opened", "broke", "replaced"]);
  });

  test("is given up when a server that sends signs of life falls silent", () => {
    const socket = FakeWebSocket.last;
    socket.open();
    socket.onmessage?.({ data: '{"type":"alive"}' });
    pass(14000);
    assert.equal(FakeWebSocket.all.length, 1);
    pass(2000);
    assert.equal(FakeWebSocket.all.length, 2);
    assert.deepEqual(said, ["opened", "broke"]);
    socket.onclose?.({ code: 1006 }); // a late close of the old socket says nothing more
    assert.deepEqual(said, ["opened", "broke"]);
  });

  test("waits for a silent server that sends no signs of life, but not for one that never answers", () => {
    pass(16000);
    assert.equal(FakeWebSocket.all.length, 2);
    FakeWebSocket.last.open();
    pass(60000);
    assert.equal(FakeWebSocket.all.length, 2);
  });

  test("says nothing more and opens nothing after it was closed", () => {
    const socket = FakeWebSocket.last;
    socket.open();
    connection.close();
    assert.equal(socket.closedWith, 1000);
    socket.break(1000);
    pass(60000);
    connection.open();
    assert.deepEqual([said, FakeWebSocket.all.length], [["opened", "broke"], 1]);
  });
});
