/**
 * The audio thread of a spy: play the call through a jitter buffer, and cut the microphone into frames.
 *
 * Frames have 16 kHz. The audio context has the rate of the sound card, because some browsers accept
 * a microphone only at that rate. In: ArrayBuffers of 16-bit little-endian PCM. Out: the same, of 320
 * samples each.
 */
import { FRAME, JitterBuffer, RATE } from "./jitter-buffer.js";
import { Resampler } from "./resampler.js";

class SpyProcessor extends AudioWorkletProcessor {
  #buffer = new JitterBuffer(sampleRate);
  #resampler = new Resampler(sampleRate, RATE);
  #frame = new Int16Array(FRAME);
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#buffer.put(new Int16Array(data));
  }

  /**
   * @override
   * @param {Float32Array[][]} inputs
   * @param {Float32Array[][]} outputs
   */
  process([microphone], [speaker]) {
    this.#buffer.fill(speaker[0], currentTime);
    for (const channel of speaker.slice(1)) channel.set(speaker[0]);
    if (microphone.length > 0) this.#speak(microphone[0]);
    else this.#filled = 0; // old speech is no beginning of new speech
    return true;
  }

  /** @param {Float32Array} samples */
  #speak(samples) {
    for (const sample of samples) {
      this.#resampler.put(sample);
      while (!this.#resampler.needsInput) this.#add(this.#resampler.next());
    }
  }

  /** @param {number} sample */
  #add(sample) {
    this.#frame[this.#filled] = Math.max(-1, Math.min(1, sample)) * 32767;
    this.#filled += 1;
    if (this.#filled < FRAME) return;
    this.port.postMessage(this.#frame.buffer, [this.#frame.buffer]);
    this.#frame = new Int16Array(FRAME);
    this.#filled = 0;
  }
}

registerProcessor("earwitness-spy", SpyProcessor);
