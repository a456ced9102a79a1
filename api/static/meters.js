/** Meters that show how loud a sound is. */
import { allElements, getElement } from "./dom.js";

const QUIET_DB = -60;

/**
 * Return how loud samples between -1 and 1 are, in dBFS.
 *
 * @param {Float32Array} samples
 */
export function levelOf(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return 10 * Math.log10(power + 1e-12);
}

/**
 * Return how far a meter stands out, from 0 at -60 dBFS to 1 at 0 dBFS.
 *
 * @param {number} dbfs
 */
export function deflectionOf(dbfs) {
  return Math.max(0, 1 - dbfs / QUIET_DB);
}

/**
 * Return a function that shows on a meter how loud a node sounds at the moment.
 *
 * @param {HTMLMeterElement} meter
 * @param {AudioNode} node
 */
export function meterOf(meter, node) {
  const analyser = new AnalyserNode(node.context, { fftSize: 512 });
  node.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(samples);
    meter.value = deflectionOf(levelOf(samples));
  };
}

/** The meters in a part of the page, each known by its name. */
export class Meters {
  #root;
  #frame = 0;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /** @param {Record<string, number>} levels in dBFS, by the name of the meter */
  show(levels) {
    for (const [name, dbfs] of Object.entries(levels)) this.#meter(name).value = deflectionOf(dbfs);
  }

  /**
   * Show the level of a node on a meter, until `stop`.
   *
   * @param {string} name
   * @param {AudioNode} node
   */
  follow(name, node) {
    cancelAnimationFrame(this.#frame);
    const show = meterOf(this.#meter(name), node);
    const draw = () => {
      show();
      this.#frame = requestAnimationFrame(draw);
    };
    draw();
  }

  /** Set every meter to zero. */
  clear() {
    for (const meter of allElements(this.#root, "meter", HTMLMeterElement)) meter.value = 0;
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  /** @param {string} name */
  #meter(name) {
    return getElement(this.#root, `meter[name=${name}]`, HTMLMeterElement);
  }
}
