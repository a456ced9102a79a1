/** Hold the frames of a call for as long as the network needs, and no longer. */
import { Resampler } from "./resampler.js";

export const RATE = 16000;
export const FRAME = 320; // samples: 20 ms
const FEWEST_FRAMES = 2;
const MOST_FRAMES = 12;
const CALM_S = 10; // after so long without a gap the buffer may shrink

export class JitterBuffer {
  /** @type {Int16Array[]} */
  #frames = [];
  #at = 0; // the next sample of the first frame
  #target = FEWEST_FRAMES;
  #isWaiting = true;
  #fewest = Infinity;
  #calmSince = 0;
  #resampler;

  /** @param {number} rate the rate of the sound card */
  constructor(rate) {
    this.#resampler = new Resampler(RATE, rate);
  }

  /**
   * Add a frame. After a stall many frames come at once: drop the oldest, which would stay as delay.
   *
   * @param {Int16Array} frame
   */
  put(frame) {
    this.#frames.push(frame);
    if (this.#frames.length > this.#target + FEWEST_FRAMES + 1) {
      this.#frames.splice(0, this.#frames.length - this.#target);
      this.#at = 0;
    }
  }

  /**
   * Fill the output with sound, and leave it silent while there are too few frames.
   *
   * @param {Float32Array} output
   * @param {number} now in seconds
   */
  fill(output, now) {
    if (this.#isWaiting && this.#frames.length < this.#target) return;
    this.#isWaiting = false;
    for (let n = 0; n < output.length; n += 1) {
      while (this.#resampler.needsInput) {
        if (this.#frames.length === 0) {
          this.#grow(now);
          return;
        }
        this.#resampler.put(this.#nextSample() / 32768);
      }
      output[n] = this.#resampler.next();
    }
    this.#fewest = Math.min(this.#fewest, this.#frames.length);
    if (now - this.#calmSince > CALM_S) this.#shrink(now);
  }

  #nextSample() {
    const [frame] = this.#frames;
    const sample = frame[this.#at];
    this.#at += 1;
    if (this.#at === frame.length) {
      this.#frames.shift();
      this.#at = 0;
    }
    return sample;
  }

  /**
   * Wait for one frame more than before, because the frames have run out.
   *
   * @param {number} now
   */
  #grow(now) {
    this.#isWaiting = true;
    this.#target = Math.min(this.#target + 1, MOST_FRAMES);
    this.#calmSince = now;
    this.#fewest = Infinity;
  }

  /**
   * Drop a frame if there were always frames to spare, so that the rest plays sooner.
   *
   * @param {number} now
   */
  #shrink(now) {
    if (this.#fewest > FEWEST_FRAMES && this.#frames.length > 1) {
      this.#frames.shift();
      this.#at = 0;
    }
    this.#target = Math.max(this.#target - 1, FEWEST_FRAMES);
    this.#calmSince = now;
    this.#fewest = Infinity;
  }
}
