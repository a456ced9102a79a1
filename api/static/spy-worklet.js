/**
 * The audio thread of a spy: plays what comes through a jitter buffer, and cuts the microphone
 * into frames. Frames are of 16 kHz; the context has the rate of the sound card, for not every
 * browser lets a microphone into one of another rate.
 *
 * In: ArrayBuffers of 16-bit little-endian PCM. Out: the same, 320 samples each.
 */
const RATE = 16000;
const FRAME = 320;
const FRAMES_AT_FIRST = 2; // 40 ms
const FRAMES_AT_MOST = 12;
const CALM_S = 10; // after so long without a gap the buffer may shrink

const CROSSINGS = 16; // how far the filter of a resampler reaches, each way: a millisecond

/**
 * Takes samples in at one rate and gives them at another: `wants` says which is next.
 *
 * A sample that is given lies between those taken in at one of `up` places, each of which has its
 * own filter: a windowed sinc that keeps what both rates can hold.
 */
class Resampler {
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const narrow = Math.min(1, to / from);
    this.length = 2 * Math.ceil(CROSSINGS / narrow);
    this.filters = Array.from({ length: this.up }, (_, phase) =>
      filter(this.length, phase / this.up, 0.9 * narrow),
    );
    this.past = new Float32Array(2 * this.length); // each sample twice, so that no run is broken
    this.at = 0;
    this.ahead = this.up; // what is given next is so far ahead of the newest, in parts of `up`
  }

  get wants() {
    return this.ahead > 0;
  }

  put(sample) {
    this.past[this.at] = this.past[this.at + this.length] = sample;
    this.at = (this.at + 1) % this.length;
    this.ahead -= this.up;
  }

  take() {
    const weights = this.filters[-this.ahead];
    let sum = 0;
    for (let n = 0; n < this.length; n += 1) sum += this.past[this.at + n] * weights[n];
    this.ahead += this.down;
    return sum;
  }
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

/** The weights of samples, oldest first, for what lies `before` the newest, but for the delay. */
function filter(length, before, cutoff) {
  const weights = Float32Array.from({ length }, (_, n) => {
    const x = n - length / 2 + before;
    const angle = Math.PI * cutoff * x;
    return (angle === 0 ? 1 : Math.sin(angle) / angle) * Math.cos((Math.PI * x) / length) ** 2;
  });
  const sum = weights.reduce((all, one) => all + one, 0);
  return weights.map((one) => one / sum);
}

/** Holds frames for as long as the network needs, and no longer. */
class JitterBuffer {
  constructor() {
    this.frames = [];
    this.at = 0; // the next sample of the first frame
    this.target = FRAMES_AT_FIRST;
    this.waiting = true;
    this.fewest = Infinity;
    this.calmSince = 0;
    this.played = new Resampler(RATE, sampleRate);
  }

  put(frame) {
    this.frames.push(frame);
    if (this.frames.length > this.target + FRAMES_AT_FIRST + 1) {
      // A burst after a stall: what is old would stay as delay.
      this.frames.splice(0, this.frames.length - this.target);
      this.at = 0;
    }
  }

  /** Fill `output`; silence while there is not enough. */
  take(output, now) {
    if (this.waiting && this.frames.length < this.target) return;
    this.waiting = false;
    for (let n = 0; n < output.length; n += 1) {
      while (this.played.wants) {
        if (this.frames.length === 0) {
          this.starve(now);
          return;
        }
        this.played.put(this.next() / 32768);
      }
      output[n] = this.played.take();
    }
    this.fewest = Math.min(this.fewest, this.frames.length);
    if (now - this.calmSince > CALM_S) this.relax(now);
  }

  next() {
    const sample = this.frames[0][this.at];
    this.at += 1;
    if (this.at === this.frames[0].length) {
      this.frames.shift();
      this.at = 0;
    }
    return sample;
  }

  starve(now) {
    this.waiting = true;
    this.target = Math.min(this.target + 1, FRAMES_AT_MOST);
    this.calmSince = now;
    this.fewest = Infinity;
  }

  /** There were always frames to spare: play the rest sooner. */
  relax(now) {
    if (this.fewest > FRAMES_AT_FIRST && this.frames.length > 1) {
      this.frames.shift();
      this.at = 0;
    }
    this.target = Math.max(this.target - 1, FRAMES_AT_FIRST);
    this.calmSince = now;
    this.fewest = Infinity;
  }
}

class SpyProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer();
    this.spoken = new Resampler(sampleRate, RATE);
    this.said = new Int16Array(FRAME);
    this.filled = 0;
    this.port.onmessage = ({ data }) => this.buffer.put(new Int16Array(data));
  }

  process([microphone], [speaker]) {
    this.buffer.take(speaker[0], currentTime);
    for (const channel of speaker.slice(1)) channel.set(speaker[0]);
    if (microphone.length > 0) this.say(microphone[0]);
    else this.filled = 0; // what was said last is not the beginning of what is said next
    return true;
  }

  say(samples) {
    for (const sample of samples) {
      this.spoken.put(sample);
      while (!this.spoken.wants) this.fill(this.spoken.take());
    }
  }

  fill(sample) {
    this.said[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
    this.filled += 1;
    if (this.filled < FRAME) return;
    this.port.postMessage(this.said.buffer, [this.said.buffer]);
    this.said = new Int16Array(FRAME);
    this.filled = 0;
  }
}

registerProcessor("earwitness-spy", SpyProcessor);
