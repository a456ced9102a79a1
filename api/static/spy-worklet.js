/**
 * The audio thread of a spy: plays what comes through a jitter buffer, and cuts the microphone
 * into frames. Runs at 16 kHz, in blocks of 128 samples.
 *
 * In: ArrayBuffers of 16-bit little-endian PCM. Out: the same, 320 samples each; and
 * {buffered, target, lost} once a second.
 */
const FRAME = 320;
const FRAMES_AT_FIRST = 2; // 40 ms
const FRAMES_AT_MOST = 12;
const CALM_S = 10; // after so long without a gap the buffer may shrink
const REPORT_S = 1;

/** Holds frames for as long as the network needs, and no longer. */
class JitterBuffer {
  constructor() {
    this.frames = [];
    this.at = 0; // the next sample of the first frame
    this.target = FRAMES_AT_FIRST;
    this.waiting = true;
    this.lost = 0;
    this.fewest = Infinity;
    this.calmSince = 0;
  }

  put(frame) {
    this.frames.push(frame);
    if (this.frames.length > this.target + FRAMES_AT_FIRST + 1) {
      // A burst after a stall: what is old would stay as delay.
      this.lost += this.frames.length - this.target;
      this.frames.splice(0, this.frames.length - this.target);
      this.at = 0;
    }
  }

  /** Fill `output`; silence while there is not enough. */
  take(output, now) {
    if (this.waiting && this.frames.length < this.target) return;
    this.waiting = false;
    for (let n = 0; n < output.length; n += 1) {
      if (this.frames.length === 0) {
        this.starve(now);
        return;
      }
      output[n] = this.frames[0][this.at] / 32768;
      this.at += 1;
      if (this.at === this.frames[0].length) {
        this.frames.shift();
        this.at = 0;
      }
    }
    this.fewest = Math.min(this.fewest, this.frames.length);
    if (now - this.calmSince > CALM_S) this.relax(now);
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
      this.lost += 1;
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
    this.said = new Int16Array(FRAME);
    this.filled = 0;
    this.reportAt = 0;
    this.port.onmessage = ({ data }) => this.buffer.put(new Int16Array(data));
  }

  process([microphone], [speaker]) {
    this.buffer.take(speaker[0], currentTime);
    for (const channel of speaker.slice(1)) channel.set(speaker[0]);
    if (microphone.length > 0) this.say(microphone[0]);
    if (currentTime >= this.reportAt) this.report();
    return true;
  }

  say(samples) {
    for (const sample of samples) {
      this.said[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.filled += 1;
      if (this.filled === FRAME) {
        this.port.postMessage(this.said.buffer, [this.said.buffer]);
        this.said = new Int16Array(FRAME);
        this.filled = 0;
      }
    }
  }

  report() {
    this.reportAt = currentTime + REPORT_S;
    const { frames, target, lost } = this.buffer;
    this.port.postMessage({ buffered: frames.length, target, lost });
  }
}

registerProcessor("earwitness-spy", SpyProcessor);
