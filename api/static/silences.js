/** Silences of a recording, as pairs of seconds. */

// A shorter silence belongs to speech.
const SHORTEST_S = 1.0;
const LEFT_IN_S = 0.2;

/** @typedef {[from: number, to: number]} Span */

/**
 * Return the spans in which every side or track is silent for more than a second.
 *
 * @param {Span[][]} sides the silences of each side, in order
 * @returns {Span[]}
 */
export function commonSilences([first = [], ...others]) {
  return others.reduce(shared, first).filter(([from, to]) => to - from > SHORTEST_S);
}

/**
 * Return the time that lies in both lists of spans, each of which is in order.
 *
 * @param {Span[]} ones
 * @param {Span[]} others
 */
function shared(ones, others) {
  /** @type {Span[]} */
  const found = [];
  for (let one = 0, other = 0; one < ones.length && other < others.length; ) {
    const from = Math.max(ones[one][0], others[other][0]);
    const to = Math.min(ones[one][1], others[other][1]);
    if (from < to) found.push([from, to]);
    if (ones[one][1] < others[other][1]) one++;
    else other++;
  }
  return found;
}

/**
 * Return the time to jump to from inside a silence, or null outside of all silences.
 *
 * @param {Span[]} silences
 * @param {number} now
 */
export function endOfSilence(silences, now) {
  const silence = silences.find(([from, to]) => now >= from && now < to - LEFT_IN_S);
  return silence ? silence[1] - LEFT_IN_S : null;
}
