/** The microphone of a spy: open while the mode needs it, released otherwise. */

const CONSTRAINTS = {
  audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

export class Microphone {
  #destination;
  #handlers;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  #isWanted = false;
  #isOpening = false;

  /**
   * @param {AudioWorkletNode} destination receives the sound
   * @param {{ opened(node: AudioNode): void, refused(error: string): void }} handlers
   */
  constructor(destination, handlers) {
    this.#destination = destination;
    this.#handlers = handlers;
  }

  /**
   * Open the microphone, or release it.
   *
   * @param {boolean} isWanted
   */
  async use(isWanted) {
    this.#isWanted = isWanted;
    if (!isWanted) this.#release();
    else if (!this.#stream && !this.#isOpening) await this.#open();
  }

  async #open() {
    this.#isOpening = true;
    try {
      const stream = (this.#stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS));
      if (!this.#isWanted) {
        this.#release(); // the mode changed while the browser asked for permission
        return;
      }
      const context = /** @type {AudioContext} */ (this.#destination.context);
      this.#source = context.createMediaStreamSource(stream);
      this.#source.connect(this.#destination);
      for (const track of stream.getTracks()) track.onended = () => this.#lost(stream);
      this.#handlers.opened(this.#source);
    } catch (error) {
      this.#release();
      this.#handlers.refused(/** @type {Error} */ (error).name);
    } finally {
      this.#isOpening = false;
    }
  }

  /**
   * Open the browser's next microphone, for example when a headset was unplugged.
   *
   * @param {MediaStream} stream
   */
  #lost(stream) {
    if (stream !== this.#stream) return;
    this.#release();
    this.use(this.#isWanted);
  }

  #release() {
    this.#source?.disconnect();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#source = null;
    this.#stream = null;
  }
}
