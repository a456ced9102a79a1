import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Microphone } from "../../api/static/spy-microphone.js";
import { settle } from "./fakes.js";

class FakeTrack {
  isStopped = false;
  /** @type {(() => void) | undefined} */
  onended;

  stop() {
    this.isStopped = true;
  }
}

/** @type {PromiseWithResolvers<unknown>[]} the browser's questions to the person */
let questions;
/** @type {unknown} */
let constraints;
/** @type {string[]} */
let said;
/** @type {Microphone} */
let microphone;
let canConnect = true;

beforeEach(() => {
  [questions, said, canConnect] = [[], [], true];
  const getUserMedia = (/** @type {MediaStreamConstraints} */ { audio }) => {
    constraints = audio;
    questions.push(Promise.withResolvers());
    return questions[questions.length - 1].promise;
  };
  Object.defineProperty(globalThis, "navigator", {
    value: { mediaDevices: { getUserMedia } },
    configurable: true,
  });
  const source = { connect: () => said.push("connect"), disconnect: () => said.push("disconnect") };
  const context = {
    createMediaStreamSource: () => {
      if (!canConnect) throw new DOMException("", "NotSupportedError");
      return source;
    },
  };
  microphone = new Microphone(/** @type {any} */ ({ context }), {
    opened: () => said.push("opened"),
    refused: (error) => said.push(`refused ${error}`),
  });
});

/** Let the person agree; return the track of the new stream. @param {number} n */
async function grant(n) {
  const track = new FakeTrack();
  questions[n].resolve({ getTracks: () => [track] });
  await settle();
  return track;
}

test("the microphone opens when it is wanted, and is released when it is not", async () => {
  microphone.use(true);
  const track = await grant(0);
  assert.deepEqual(said, ["connect", "opened"]);
  microphone.use(false);
  assert.equal(track.isStopped, true);
  assert.deepEqual(said.slice(2), ["disconnect"]);
});

test("the browser removes echo and noise", () => {
  microphone.use(true);
  const all = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  assert.deepEqual(constraints, all);
});

test("the browser asks once, however often the microphone is wanted", async () => {
  microphone.use(true);
  microphone.use(true);
  await grant(0);
  microphone.use(true);
  assert.equal(questions.length, 1);
});

test("a microphone that nobody wants any more is released as soon as it is granted", async () => {
  microphone.use(true);
  microphone.use(false);
  const track = await grant(0);
  assert.equal(track.isStopped, true);
  assert.deepEqual(said, []);
});

test("a microphone that is wanted again before it is granted opens", async () => {
  microphone.use(true);
  microphone.use(false);
  microphone.use(true);
  const track = await grant(0);
  assert.equal(track.isStopped, false);
  assert.deepEqual([said, questions.length], [["connect", "opened"], 1]);
});

test("a refusal is reported, and the browser asks again at the next wish", async () => {
  microphone.use(true);
  questions[0].reject(new DOMException("", "NotAllowedError"));
  await settle();
  assert.deepEqual(said, ["refused NotAllowedError"]);
  microphone.use(true);
  assert.equal(questions.length, 2);
});

test("a microphone that cannot be used is released", async () => {
  canConnect = false;
  microphone.use(true);
  const track = await grant(0);
  assert.equal(track.isStopped, true);
  assert.deepEqual(said, ["refused NotSupportedError"]);
});

test("when a headset is unplugged, the browser's next microphone opens", async () => {
  microphone.use(true);
  const headset = await grant(0);
  headset.onended?.();
  assert.equal(questions.length, 2);
  const other = await grant(1);
  assert.equal(other.isStopped, false);
  headset.onended?.(); // an old stream changes nothing
  assert.equal(questions.length, 2);
});
