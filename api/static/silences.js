/** Silences of a recording, as pairs of seconds. */

// A shorter silence belongs to speech.
const SHORTEST_S = 1.0;
const LEFT_IN_S = 0.2;

/** @typedef {[from: number, to: number]} Span */

/**
 * Return the spans in which every side is silent for more than a second.
 *
 * @param {Span[][]} sides the silences of each side, in order
 * @returns {Span[]}
 */
export function commonSilences([first = [], ...others]) {
  const common = others.reduce(
    (left, right) =>
      left.flatMap(([from, to]) =>
        right
          .map((span) => /** @type {Span} */ ([Math.max(from, span[0]), Math.min(to, span[1])]))
          .filter((span) => span[0] < span[1]),
      ),
    first,
  );
  return common.filter(([from, to]) => to - from > SHORTEST_S);
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
