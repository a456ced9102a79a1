/** Change the rate of a sound, sample by sample. */

const CROSSINGS = 16; // how far the filter reaches, each way: a millisecond at 16 kHz

/**
 * Change samples from one rate to another.
 *
 * Call `put` while `needsInput`, else `next`. An output sample lies between input samples at one of
 * `up` positions, and each position has its own filter: a windowed sinc, which keeps the band that
 * both rates can hold.
 */
export class Resampler {
  /**
   * @param {number} from in samples a second
   * @param {number} to
   */
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const narrow = Math.min(1, to / from);
    this.length = 2 * Math.ceil(CROSSINGS / narrow);
    this.filters = Array.from({ length: this.up }, (_, phase) =>
      filter(this.length, phase / this.up, 0.9 * narrow),
    );
    this.past = new Float32Array(2 * this.length); // holds each sample twice, so every run is whole
    this.at = 0;
    this.ahead = this.up; // how far the next output is ahead of the newest input, in parts of `up`
  }

  get needsInput() {
    return this.ahead > 0;
  }

  /** @param {number} sample */
  put(sample) {
    this.past[this.at] = this.past[this.at + this.length] = sample;
    this.at = (this.at + 1) % this.length;
    this.ahead -= this.up;
  }

  /** Return the next output sample. */
  next() {
    const weights = this.filters[-this.ahead];
    let sum = 0;
    for (let n = 0; n < this.length; n += 1) sum += this.past[this.at + n] * weights[n];
    this.ahead += this.down;
    return sum;
  }
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

/**
 * Return the weights of the input samples, oldest first.
 *
 * @param {number} length
 * @param {number} before how far the output lies before the newest input, not counting the delay
 * @param {number} cutoff
 */
function filter(length, before, cutoff) {
  const weights = Float32Array.from({ length }, (_, n) => {
    const x = n - length / 2 + before;
    const angle = Math.PI * cutoff * x;
    return (angle === 0 ? 1 : Math.sin(angle) / angle) * Math.cos((Math.PI * x) / length) ** 2;
  });
  const sum = weights.reduce((all, weight) => all + weight, 0);
  return weights.map((weight) => weight / sum);
}
