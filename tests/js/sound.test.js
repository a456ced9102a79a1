import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FRAME, JitterBuffer, RATE } from "../../api/static/jitter-buffer.js";
import { deflectionOf, levelOf } from "../../api/static/meters.js";
import { Resampler } from "../../api/static/resampler.js";

const BLOCK = 128; // an audio thread asks for so many samples at once

/** @param {number} hz @param {number} rate @param {number} seconds */
function tone(hz, rate, seconds) {
  const length = Math.round(rate * seconds);
  return Float32Array.from({ length }, (_, n) => 0.5 * Math.sin((2 * Math.PI * hz * n) / rate));
}

/** @param {Float32Array} samples @param {number} from @param {number} to */
function resample(samples, from, to) {
  const resampler = new Resampler(from, to);
  const output = [];
  for (const sample of samples) {
    resampler.put(sample);
    while (!resampler.needsInput) output.push(resampler.next());
  }
  return Float32Array.from(output);
}

/** How loud a tone is, in dBFS. @param {Float32Array} samples @param {number} hz @param {number} rate */
function loudness(samples, hz, rate) {
  let [re, im] = [0, 0];
  samples.forEach((sample, n) => {
    re += sample * Math.cos((2 * Math.PI * hz * n) / rate);
    im += sample * Math.sin((2 * Math.PI * hz * n) / rate);
  });
  return 20 * Math.log10((2 * Math.hypot(re, im)) / samples.length + 1e-9);
}

describe("the resampler", () => {
  for (const [from, to] of [[16000, 48000], [16000, 44100], [44100, 16000], [48000, 16000], [16000, 16000]]) {
    test(`keeps a tone from ${from} to ${to} Hz, and adds none`, () => {
      const output = resample(tone(1000, from, 1), from, to);
      assert.ok(Math.abs(output.length - to) <= to / 100, `${output.length}`);
      const steady = output.slice(Math.round(to / 10), Math.round(to * 0.9));
      assert.ok(Math.abs(loudness(steady, 1000, to) + 6) < 0.5, `${loudness(steady, 1000, to)}`);
      assert.ok(loudness(steady, 3000, to) < -60);
    });
  }

  test("keeps the height and the sign of a constant signal", () => {
    const output = resample(new Float32Array(1600).fill(0.5), 16000, 48000);
    for (const sample of output.slice(200)) assert.ok(Math.abs(sample - 0.5) < 0.01, `${sample}`);
  });

  test("removes a tone that the lower rate cannot hold", () => {
    const output = resample(tone(10000, 48000, 1), 48000, 16000);
    assert.ok(loudness(output.slice(1600, 14400), 6000, 16000) < -50); // its alias
  });
});

describe("the jitter buffer", () => {
  const frame = () => new Int16Array(FRAME).fill(8000);
  /** @param {JitterBuffer} buffer @param {number} now */
  const play = (buffer, now) => {
    const output = new Float32Array(BLOCK);
    buffer.fill(output, now);
    return output;
  };
  const sounds = (/** @type {Float32Array} */ output) => output.some((sample) => Math.abs(sample) > 0.01);
  /** Play until silence; return the played seconds. @param {JitterBuffer} buffer @param {number} now */
  const drain = (buffer, now) => {
    let blocks = 0;
    while (sounds(play(buffer, now)) && blocks < 1000) blocks += 1;
    return (blocks * BLOCK) / RATE;
  };

  test("is silent until it holds 40 ms", () => {
    const buffer = new JitterBuffer(RATE);
    assert.equal(sounds(play(buffer, 0)), false);
    buffer.put(frame());
    assert.equal(sounds(play(buffer, 0)), false);
    buffer.put(frame());
    assert.equal(sounds(play(buffer, 0)), true);
  });

  test("waits for one frame more after each gap, up to 240 ms", () => {
    const buffer = new JitterBuffer(RATE);
    for (let frames = 2; frames <= 14; frames += 1) {
      const needed = Math.min(frames, 12);
      for (let n = 1; n < needed; n += 1) buffer.put(frame());
      assert.equal(sounds(play(buffer, 0)), false, `${needed - 1} frames`);
      buffer.put(frame());
      assert.equal(sounds(play(buffer, 0)), true, `${needed} frames`);
      drain(buffer, 0);
    }
  });

  test("keeps five frames, but only the newest two of a longer burst, so that no delay stays", () => {
    for (const [burst, kept] of [[5, 5], [6, 2], [8, 4], [10, 2]]) {
      const buffer = new JitterBuffer(RATE);
      for (let n = 0; n < burst; n += 1) buffer.put(frame());
      const played = drain(buffer, 0);
      assert.ok(Math.abs(played - 0.02 * kept) < BLOCK / RATE, `${burst} frames played ${played} s`);
    }
  });

  test("drops one frame after ten seconds in which it always held three", () => {
    for (const [at, kept] of /** @type {[number[], number][]} */ ([
      [[9, 10], 4], // not more than ten seconds
      [[9, 10.1], 3],
      [[9, 10.1, 20.2], 3], // it held only two meanwhile: none is to spare
      [[5, 10.1, 20.1], 3], // the ten seconds begin anew after a drop
    ])) {
      const buffer = new JitterBuffer(RATE);
      for (let n = 0; n < 4; n += 1) buffer.put(frame());
      for (const now of at) {
        buffer.fill(new Float32Array(FRAME), now);
        buffer.put(frame());
      }
      const played = drain(buffer, at[at.length - 1]);
      assert.ok(Math.abs(played - 0.02 * kept) < BLOCK / RATE, `${at}: ${played} s`);
    }
  });

  test("never waits for fewer than two frames", () => {
    const buffer = new JitterBuffer(RATE);
    for (let n = 0; n < 2; n += 1) buffer.put(frame());
    play(buffer, 11);
    drain(buffer, 11); // one more than two are needed now
    for (let n = 0; n < 2; n += 1) buffer.put(frame());
    assert.equal(sounds(play(buffer, 11)), false);
    buffer.put(frame());
    assert.equal(sounds(play(buffer, 11)), true);
  });

  test("plays the samples in order at the rate of the sound card", () => {
    const buffer = new JitterBuffer(48000);
    const heard = [];
    const spoken = tone(1000, RATE, 1);
    for (let at = 0; at + FRAME <= spoken.length; at += FRAME) {
      buffer.put(Int16Array.from(spoken.slice(at, at + FRAME), (sample) => sample * 32767));
      const output = new Float32Array(3 * FRAME);
      buffer.fill(output, at / RATE);
      heard.push(...output);
    }
    const steady = Float32Array.from(heard.slice(4800, 43200));
    assert.ok(Math.abs(loudness(steady, 1000, 48000) + 6) < 0.5);
    assert.ok(loudness(steady, 2000, 48000) < -60);
  });
});

test("the level of a full square wave is 0 dBFS, and of silence below -100", () => {
  assert.ok(Math.abs(levelOf(Float32Array.from({ length: 512 }, (_, n) => (n % 2 ? 1 : -1)))) < 0.001);
  assert.ok(Math.abs(levelOf(tone(1000, RATE, 1)) + 9.03) < 0.01);
  assert.ok(levelOf(new Float32Array(512)) < -100);
});

test("a meter is empty below -60 dBFS, half at -30 and full at 0", () => {
  assert.deepEqual([-120, -60, -30, 0].map(deflectionOf), [0, 0, 0.5, 1]);
});
